"""Events of S3 from a queue of SQS into the ledger: how many a second, and how soon.

Usage: python bench/events.py [--objects N] [--seconds N] [--rate N]

A server of its own is the queue, since emulators are slower than the bar. Another process writes to it what S3 tells of
new objects, a record a message; the consumer and the watcher of the daemon take it from there into SQLite, with a
commit before each acknowledgement. `sustained`: a full queue is emptied, beside a bare loop of receiving and deleting.
`delay`: objects come at a rate, from just before a message is sent until its object is committed. Exits with 1 when a
bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import anyio

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.emulators.s3_server import S3Server, raw_client  # noqa: E402  # found by the line above
from tests.fault_proxy import LOOPBACK  # noqa: E402

from vvwatch.clock import SystemClock  # noqa: E402
from vvwatch.collector import relax_collector  # noqa: E402
from vvwatch.core.store_notes import StoreNotes  # noqa: E402
from vvwatch.core.windows import WindowPolicy  # noqa: E402
from vvwatch.ports import Capabilities, Hint, Storage  # noqa: E402
from vvwatch.providers.s3.queue import SqsQueue  # noqa: E402
from vvwatch.providers.s3.storage import S3Credentials, S3Location  # noqa: E402
from vvwatch.store.catalog import catalog  # noqa: E402
from vvwatch.store.catalog.catalog import ConnectorSpec, PromptSpec  # noqa: E402
from vvwatch.store.db.database import Tx  # noqa: E402
from vvwatch.store.db.sqlite import SqliteDatabase  # noqa: E402
from vvwatch.store.watching import automations  # noqa: E402
from vvwatch.telemetry import Telemetry, configure_logging  # noqa: E402
from vvwatch.workflow.watching.queue_consumer import QueueConsumer  # noqa: E402
from vvwatch.workflow.watching.watcher import Watcher  # noqa: E402

LEAST_PER_SECOND = 1_000
MOST_DELAY_SECONDS = 2.0
BATCH = 10
BUCKET = "bench"
DEADLINE_SECONDS = 120.0


class Unasked:
    """A store that nobody has to ask: its events tell everything."""

    capabilities = Capabilities(atomic_writes=True)
    clock_ahead_seconds = 0.0
    notes = StoreNotes()

    def uri(self, key: str) -> str:
        return f"s3://{BUCKET}/{key}"


class Queue:
    """As much of SQS as is asked for here; it forgets nothing and gives nothing twice."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._came = asyncio.Event()
        self._numbers = count()

    async def answer(self, name: str, asked: dict[str, Any]) -> dict[str, Any]:
        entries = asked.get("Entries", [])
        if name == "SendMessageBatch":
            self._waiting += [entry["MessageBody"] for entry in entries]
            self._came.set()
        if name == "ReceiveMessage":
            return {"Messages": await self._receive(asked)}
        return {"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []}

    async def _receive(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        if not self._waiting:
            self._came.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), asked.get("WaitTimeSeconds", 0))
        many = min(len(self._waiting), asked.get("MaxNumberOfMessages", 1))
        return [self._message(self._waiting.popleft()) for _ in range(many)]

    def _message(self, body: str) -> dict[str, Any]:
        name = f"message-{next(self._numbers)}"
        sent = {"SentTimestamp": str(int(time.time() * 1000))}
        return {"MessageId": name, "ReceiptHandle": name, "Body": body, "Attributes": sent}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                headers = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
                asked = json.loads(await reader.readexactly(int(headers["content-length"])))
                name = _NAMES[headers["x-amz-target"].rpartition(".")[2]]
                body = json.dumps(await self.answer(name, asked)).encode()
                kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
                writer.write(kind + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()


_NAMES = {
    name.lower(): name
    for name in ("SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
}


async def serve() -> None:
    """Serve until terminated; the port is told on standard output."""
    server = await asyncio.start_server(Queue().serve, LOOPBACK, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def queue_server() -> Iterator[S3Server]:
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield S3Server(f"http://{LOOPBACK}:{int(process.stdout.readline())}")
        finally:
            process.kill()


def told(key: str, number: int) -> str:
    """The notification of S3 about a new object."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    subject = {
        "key": key,
        "size": 50_000_000 + number,
        "eTag": f"{number:032x}",
        "sequencer": f"{number:018X}",
    }
    s3 = {"s3SchemaVersion": "1.0", "bucket": {"name": BUCKET}, "object": subject}
    record = {
        "eventVersion": "2.3",
        "eventSource": "aws:s3",
        "eventTime": moment,
        "eventName": "ObjectCreated:Put",
    }
    return json.dumps({"Records": [{**record, "awsRegion": "us-east-1", "s3": s3}]})


async def send(url: str, queue_url: str, first: int, objects: int, rate: float) -> None:
    """Tell of objects, so many a second (0: as fast as it goes); the key has the moment."""
    async with raw_client(S3Server(url), "sqs") as sqs:
        began = time.time()
        for start in range(0, objects, BATCH):
            if rate:
                await anyio.sleep(max(0.0, began + start / rate - time.time()))
            numbers = range(first + start, first + min(start + BATCH, objects))
            bodies = [told(f"incoming/{n:09}@{time.time():.3f}.mp4", n) for n in numbers]
            entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(bodies)]
            await sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)


def sender(
    at: S3Server, queue_url: str, first: int, objects: int, rate: float = 0
) -> subprocess.Popen[bytes]:
    rest = [at.endpoint_url, queue_url, str(first), str(objects), str(rate)]
    return subprocess.Popen([sys.executable, __file__, "--send", *rest])


async def sent(at: S3Server, queue_url: str, first: int, objects: int) -> None:
    """The queue is filled."""
    process = sender(at, queue_url, first, objects)
    assert await anyio.to_thread.run_sync(process.wait) == 0


def prepare(tx: Tx) -> None:
    prompt = PromptSpec("bench", "nothing is run here", {"type": "object", "properties": {}})
    catalog.seed_default_prompt(tx, prompt)
    catalog.declare_connector(tx, "bench", ConnectorSpec("bench", "s3", {"bucket": BUCKET}))
    catalog.declare_index(tx, "bench", "bench")
    spec = automations.ImportSpec(
        connector_id="bench",
        source_prefix="incoming/",
        file_pattern="*",
        recursive=True,
        debounce_interval="1d",
        policy=WindowPolicy(86_400, 86_400, 10_000_000),
        scan_seconds=86_400,
        settle_seconds=0,
        preset={"prompt_id": catalog.DEFAULT_PROMPT_ID},
    )
    automations.save_import(tx, "bench", spec)


class Bench:
    """A queue, and what consumes it; `delays` has the seconds from sending to the commit of each object."""

    def __init__(self, at: S3Server, queue_url: str, database: SqliteDatabase) -> None:
        telemetry = Telemetry("bench", configure_logging("json", "error", io.StringIO()))
        storage = cast(Storage, Unasked())
        self.delays: list[float] = []
        self.at, self.queue_url = at, queue_url
        self._watcher = Watcher(database, SystemClock(), telemetry, lambda _: storage, lambda: 0.5)
        self.consumer = QueueConsumer(
            database, SystemClock(), telemetry, self._notice, lambda: 0.5, "bench", self.queue, exclusive=True
        )

    def queue(self) -> SqsQueue:
        location = S3Location(BUCKET, self.at.region, self.at.endpoint_url)
        key = S3Credentials(self.at.access_key_id, self.at.secret_access_key)
        queue = SqsQueue(self.queue_url, location, key)
        queue._aws = True  # noqa: SLF001  # the messages are those of S3 itself, which tell the whole identity
        return queue

    async def _notice(self, automation_id: str, hint: Hint) -> bool:
        taken = await self._watcher.notice(automation_id, hint)
        now = time.time()
        self.delays += [now - float(found.key.partition("@")[2][:-4]) for found in hint.objects if taken]
        return taken

    async def consumed(self, objects: int) -> float:
        """Seconds until so many objects are committed in all, while the consumer runs."""
        began = time.perf_counter()
        with anyio.fail_after(DEADLINE_SECONDS):
            while len(self.delays) < objects:  # noqa: ASYNC110  # the consumer sets no event
                await anyio.sleep(0.01)
        return time.perf_counter() - began

    async def drained(self, objects: int) -> float:
        """Seconds that bare receiving and deleting takes."""
        queue, count, began = self.queue(), 0, time.perf_counter()
        try:
            while count < objects:
                messages = await queue.receive()
                await queue.acknowledge(messages)
                count += len(messages)
        finally:
            await queue.aclose()
        return time.perf_counter() - began


@asynccontextmanager
async def ready(at: S3Server, folder: str) -> AsyncIterator[Bench]:
    queue_url = f"{at.endpoint_url}/000000000000/bench"
    database = SqliteDatabase(Path(folder) / "bench.db", SystemClock())
    async with database.opened():
        await database.write(prepare)
        yield Bench(at, queue_url, database)


async def bare(bench: Bench, objects: int) -> None:
    await sent(bench.at, bench.queue_url, 0, objects)
    took = await bench.drained(objects)
    print(f"bare receiving and deleting    {objects / took:>8,.0f} messages/s")


async def sustained(bench: Bench, objects: int) -> bool:
    cpu = time.process_time()
    ours = objects / await bench.consumed(objects)
    used = (time.process_time() - cpu) / objects
    print(f"queue to ledger, sustained     {ours:>8,.0f} objects/s, {used * 1e6:.0f} µs of CPU each")
    return met(f"at least {LEAST_PER_SECOND:,} objects/s", ours >= LEAST_PER_SECOND)


async def delay(bench: Bench, seconds: float, rate: float) -> bool:
    objects, before = max(int(seconds * rate), 2), len(bench.delays)
    process = sender(bench.at, bench.queue_url, 10_000_000, objects, rate)
    await bench.consumed(before + objects)
    await anyio.to_thread.run_sync(process.wait)
    delays = bench.delays[before:]
    p95 = statistics.quantiles(delays, n=20)[-1]
    print(f"sent to committed at {rate:g}/s      p50 {statistics.median(delays):.3f} s, p95 {p95:.3f} s")
    return met(f"p95 at most {MOST_DELAY_SECONDS:g} s", p95 <= MOST_DELAY_SECONDS)


def met(bar: str, good: bool) -> bool:
    print(f"  {bar}: {'met' if good else 'MISSED'}")
    return good


async def main(arguments: argparse.Namespace) -> bool:
    relax_collector()
    with queue_server() as at, tempfile.TemporaryDirectory() as folder:
        async with ready(at, folder) as bench:
            await bare(bench, arguments.objects)
            await sent(bench.at, bench.queue_url, arguments.objects, arguments.objects)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bench.consumer.run)
                good = await sustained(bench, arguments.objects)
                good = await delay(bench, arguments.seconds, arguments.rate) and good
                tasks.cancel_scope.cancel()
            return good


def asked() -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=100)
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--send"]:
        url, queue_url, first, objects, rate = sys.argv[2:]
        anyio.run(partial(send, url, queue_url, int(first), int(objects), float(rate)))
    elif sys.argv[1:] == ["--serve"]:
        asyncio.run(serve())
    else:
        sys.exit(0 if anyio.run(main, asked()) else 1)
