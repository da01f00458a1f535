"""The section `calls` of processors.py: an endpoint is kept busy, and a call costs little of our CPU.

The endpoint is a process of its own that answers each chat after a while. An item of as many segments as there are
calls, five pictures of 20 kB each, goes through the processor of models with 16 calls in flight; beside it 16 tasks
post the same bytes with a bare httpx2 client. Nothing is extracted, and the journal is in memory.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2

from processor import cpu_seconds

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.processing import MemoryJournal, item_of  # found by the line above

from vvwatch.clock import SystemClock
from vvwatch.config.processors import OpenAIProcessor as Table
from vvwatch.core.media import Plan
from vvwatch.ports.processing import Prompt
from vvwatch.processors.media.cutting import Extract, ExtractSettings, Frame
from vvwatch.processors.openai.processor import OpenAIProcessor

IN_FLIGHT = 16
FRAMES = 5
FRAME_BYTES = 20_000
SCHEMA = {
    "type": "object",
    "properties": {"summary": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["summary", "people"],
}
ENDPOINT = """
import asyncio, json, sys
content = json.dumps({"summary": "a boat", "people": 2})
body = json.dumps({"model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    "choices": [{"finish_reason": "stop", "message": {"content": content}}]}).encode()
head = "HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body)
answer = head.encode() + body
async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode().lower()
            await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
            await asyncio.sleep(float(sys.argv[1]))
            writer.write(answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 22)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@dataclass(frozen=True)
class Spent:
    """Seconds and CPU seconds of so many calls."""

    seconds: float
    cpu_seconds: float
    calls: int

    @property
    def rate(self) -> float:
        return self.calls / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu_seconds / self.calls


@contextmanager
def endpoint(latency_seconds: float) -> Iterator[str]:
    """The base URL of an endpoint in a process of its own."""
    command = [sys.executable, "-c", ENDPOINT, str(latency_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.kill()


class Limiter:
    """Implements `Limiter` with the calls in flight alone."""

    def __init__(self) -> None:
        self._slots = anyio.Semaphore(IN_FLIGHT)

    @asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[None]:  # noqa: ARG002  # as the port has it
        async with self._slots:
            yield

    def hold_back(self, seconds: float) -> None: ...

    async def pause(self, error: Exception) -> None:
        raise error


class Extracts:
    """Segments whose pictures are there already."""

    def __init__(self, spans: Mapping[int, tuple[float, float]], picture: Path) -> None:
        self._spans = spans
        self._picture = picture

    async def __aiter__(self) -> AsyncIterator[Extract]:
        for ordinal, (start, end) in self._spans.items():
            yield Extract(ordinal, start, end, tuple(Frame(start + n, self._picture) for n in range(FRAMES)))

    async def release(self, extract: Extract) -> None: ...


class Cutter:
    """Stands for the cutter, which is measured by itself."""

    def __init__(self, picture: Path) -> None:
        self._picture = picture

    @asynccontextmanager
    async def extract(
        self,
        fd: int,  # noqa: ARG002  # as the cutter has it
        spans: Mapping[int, tuple[float, float]],
        wanted: ExtractSettings,  # noqa: ARG002
        **_: Any,
    ) -> AsyncIterator[Extracts]:
        yield Extracts(spans, self._picture)


async def ours(url: str, calls: int, folder: Path) -> Spent:
    """Process one item of so many segments."""
    picture = folder / "frame.jpg"
    picture.write_bytes(bytes(range(250)) * (FRAME_BYTES // 250))
    cutter: Any = Cutter(picture)
    table = Table.model_validate(
        {
            "type": "openai",
            "base_url": url,
            "model": "m",
            "max_in_flight": IN_FLIGHT,
            "frames_per_segment": FRAMES,
        }
    )
    clock = SystemClock()
    processor = OpenAIProcessor("m", table, None, cutter=cutter, limiter=Limiter(), clock=clock)
    journal = MemoryJournal(kept_plan=Plan(tuple((float(n), float(n + 1)) for n in range(calls))))
    item = item_of(picture, Prompt("Say what is seen.", SCHEMA, None), journal=journal)
    before = time.perf_counter(), cpu_seconds(0)
    result = await processor.process(item)
    spent = Spent(time.perf_counter() - before[0], cpu_seconds(0) - before[1], calls)
    assert all(segment.error is None for segment in result.segments)
    await processor.aclose()
    return spent


async def bare(url: str, calls: int) -> Spent:
    """Post as many bytes as often, with as many tasks as there are calls in flight."""
    body = json.dumps({"messages": "x" * (FRAMES * FRAME_BYTES * 4 // 3 + 2000)}).encode()
    left = iter(range(calls))
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:

        async def ask() -> None:
            for _ in left:
                answer = await client.post(f"{url}/chat/completions", content=body)
                answer.json()

        before = time.perf_counter(), cpu_seconds(0)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(IN_FLIGHT):
                tasks.create_task(ask())
        return Spent(time.perf_counter() - before[0], cpu_seconds(0) - before[1], calls)


def measure(latency_seconds: float, calls: int, folder: Path, rounds: int) -> None:
    """Print the best round of each: what else ran on this machine can only have slowed them down."""
    with endpoint(latency_seconds) as url:
        asyncio.run(bare(url, IN_FLIGHT))
        alone, with_us = [], []
        for _ in range(rounds):
            alone.append(asyncio.run(bare(url, calls)))
            with_us.append(asyncio.run(ours(url, calls, folder)))
    best, best_ours = (max(spent, key=lambda each: each.rate) for spent in (alone, with_us))
    cpu, cpu_ours = (min(each.cpu_ms for each in spent) for spent in (alone, with_us))
    print(f"calls of {latency_seconds:g} s, {IN_FLIGHT} in flight, {calls} of them:")
    print(f"{'bare httpx2':20} {best.rate:6.1f} calls/s  {cpu:5.2f} ms CPU a call")
    print(
        f"{'ours':20} {best_ours.rate:6.1f} calls/s  {cpu_ours:5.2f} ms CPU a call   "
        f"{best_ours.rate / best.rate:.2f} x the bare loop, bar: >= 0.9; bar of CPU: <= 3 ms"
    )


def calls(folder: Path) -> None:
    measure(0.05, 480, folder, rounds=3)
    measure(2.0, 160, folder, rounds=1)
