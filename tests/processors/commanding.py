"""A program of a few lines as a processor, and what it leaves behind."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.processing import MemoryJournal, OpenLimiter, item_of
from vvwatch.config.processors import CommandProcessor
from vvwatch.core.media import ProcessingResult
from vvwatch.ports.processing import Item, Processor, Prompt
from vvwatch.processors.command.processor import open_processor
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.registry import Resources

WORDS: dict[str, Any] = {
    "type": "object",
    "properties": {"words": {"type": "array", "items": {"type": "string"}}},
    "required": ["words"],
    "additionalProperties": False,
}
PROMPT = Prompt("Which words are there?", WORDS, None)


@dataclass
class QuickClock:
    """Sleeps at once, and remembers for how long."""

    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return 1_790_000_000.0

    def monotonic(self) -> float:
        return 1_000.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass
class Bench:
    """Where programs are tried: what they were told, kept and left behind."""

    folder: Path
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    limiter: OpenLimiter = field(default_factory=OpenLimiter)
    clock: QuickClock = field(default_factory=QuickClock)

    @property
    def work_dir(self) -> Path:
        return self.folder / "work"

    def python(self, code: str) -> list[str]:
        """The command that runs `code`, in which `said` is the request and `json`, `os`, `sys`, `time` are there."""
        head = "import json, os, signal, subprocess, sys, time\n"
        script = self.folder / "program.py"
        script.write_text(head + code)
        return [sys.executable, "-I", "-S", str(script)]

    def processor(self, command: list[str], **options: Any) -> Processor:
        table = CommandProcessor(type="command", command=tuple(command), **{"level": "item", **options})
        return open_processor("words", table, None, self.resources())

    def resources(self) -> Resources:
        return Resources(
            limits=Limits(),
            work_dir=self.work_dir,
            clock=self.clock,
            limiter=lambda *_: self.limiter,
            emit=lambda *_, **__: None,
        )

    def item(self, prompt: Prompt = PROMPT, **fields: Any) -> Item:
        path = self.folder / "Clip One.MP4"
        path.write_bytes(b"some media")
        settings = fields.pop("settings", None)
        return item_of(path, prompt, settings, journal=self.journal, **fields)

    async def process(
        self, code: str, prompt: Prompt = PROMPT, *, item: dict[str, Any] | None = None, **options: Any
    ) -> ProcessingResult:
        processor = self.processor(self.python(code), **options)
        try:
            return await processor.process(self.item(prompt, **(item or {})))
        finally:
            await processor.aclose()

    def left(self) -> list[str]:
        """What the programs leave behind, once those that were killed have had the time to die."""
        deadline = time.monotonic() + 30
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left

    def _left(self) -> list[str]:
        files = [path.name for path in self.work_dir.iterdir()] if self.work_dir.exists() else []
        return files + [str(each) for each in psutil.process_iter() if self._is_ours(each)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return str(self.work_dir) in process.environ().get("VVWATCH_WORKDIR", "")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False
