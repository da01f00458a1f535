"""The section `command` of processors.py: what a program costs beside what it takes by itself.

The program answers at once, and is asked about one item after the other: by `subprocess.run` with a request of the
same size, by the processor with a process each, and by the processor with a worker. CPU time is that of this process
and of those that it has started, starts and folders included; the journal is in memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from processor import cpu_seconds

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.processing import MemoryJournal, OpenLimiter, item_of  # found by the line above

from vvwatch.clock import SystemClock
from vvwatch.config.processors import CommandProcessor
from vvwatch.ports.processing import Call, CallIntent, Prompt
from vvwatch.processors.command.processor import open_processor
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.registry import Resources

ROUNDS = 3
ITEMS = 100
BAR_MS = 5.0
REQUEST = b"{}" * 500
ECHO = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"id": json.loads(line)["id"], "metadata": {}}), flush=True)
"""


@dataclass
class NoLedger(MemoryJournal):
    """Forgets each call, so that the next one is made."""

    async def begin_call(self, intent: CallIntent) -> Call:
        self.calls.clear()
        return await super().begin_call(intent)


def runs(folder: Path) -> None:
    """The best of the rounds counts: what else ran on this machine can only have slowed them down."""
    media, answer = folder / "clip.mp4", folder / "answer.json"
    media.write_bytes(b"media")
    answer.write_text('{"metadata": {"words": ["one"]}}')
    program = ["/bin/cat", str(answer)]
    bare = best(partial(run_bare, program))
    print(f"command: {ITEMS} items")
    print(f"{'subprocess.run':20} {bare:6.2f} CPU ms an item")
    once = best(partial(anyio.run, ask_all, program, "once", media, folder))
    print(f"{'a process each':20} {once:6.2f} CPU ms an item, {once - bare:+.2f}, bar: <= +{BAR_MS:g}")
    worker = best(partial(anyio.run, ask_all, [sys.executable, "-c", ECHO], "worker", media, folder))
    print(f"{'a worker':20} {worker:6.2f} CPU ms an item, its own included")


def run_bare(program: list[str]) -> None:
    for _ in range(ITEMS):
        subprocess.run(program, input=REQUEST, capture_output=True, check=True)


async def ask_all(program: list[str], mode: Any, media: Path, folder: Path) -> None:
    table = CommandProcessor(type="command", command=tuple(program), level="item", mode=mode)
    resources = Resources(Limits(), folder / "work", SystemClock(), lambda *_: OpenLimiter(), lambda *_: None)
    processor = open_processor("bench", table, None, resources)
    item = item_of(media, Prompt("Words?", {"type": "object"}, None), journal=NoLedger())
    for _ in range(ITEMS):
        await processor.process(item)
    await processor.aclose()


def best(step: Callable[[], None]) -> float:
    """CPU milliseconds of `step` for each item, those of its processes included."""
    return min(_spent(step) for _ in range(ROUNDS)) * 1000 / ITEMS


def _spent(step: Callable[[], None]) -> float:
    whose = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    before = sum(map(cpu_seconds, whose))
    step()
    return sum(map(cpu_seconds, whose)) - before
