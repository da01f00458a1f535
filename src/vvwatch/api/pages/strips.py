"""The strip of an automation's last windows: one tick each, whose shape and colour say how it ended."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vvwatch.api.pages.wording import describe_bytes, describe_seconds
from vvwatch.core.events import to_iso
from vvwatch.store.admin.lane_queries import STRIP, PastWindow

_STEP: Final = 8
_HEIGHT: Final = 24
_LEAST: Final = 6
_BAD_RUNS: Final = frozenset({"failed"})
_WORDS: Final = {
    "good": "completed",
    "warn": "with failures",
    "bad": "failed",
    "busy": "under way",
    "idle": "open, held or cancelled",
}


@dataclass(frozen=True, slots=True)
class Tick:
    """A window in the strip: its kind, its place and height in pixels, and what it was."""

    kind: str
    x: int
    y: int
    height: int
    title: str


@dataclass(frozen=True, slots=True)
class Strip:
    """The ticks, oldest first, and what they say in words."""

    ticks: Sequence[Tick]
    width: int
    height: int
    summary: str


def judge_window(window: PastWindow) -> str:
    """Return how a window ended: `good`, `warn` or `bad`; `busy` is under way, `idle` open or cancelled."""
    if window.state == "open" or "cancelled" in {window.job_status, window.run_status}:
        return "idle"
    if window.job_status == "failed" or window.run_status in _BAD_RUNS:
        return "bad"
    if window.job_status != "completed" or window.run_status in {"pending", "processing"}:
        return "busy"
    return "warn" if window.job_failed or window.run_status == "completed_with_failures" else "good"


def build_strip(windows: Sequence[PastWindow]) -> Strip:
    """Return the strip of `windows`, which are newest first."""
    shown = list(reversed(windows[:STRIP]))
    free = STRIP - len(shown)
    ticks = [_to_tick(window, free + place) for place, window in enumerate(shown)]
    counts = Counter(tick.kind for tick in ticks)
    said = ", ".join(f"{counts[kind]} {word}" for kind, word in _WORDS.items() if counts[kind])
    which = "1 window" if len(shown) == 1 else f"{len(shown)} windows"
    summary = f"Last {which}: {said}" if shown else "No window has closed yet"
    return Strip(ticks, STRIP * _STEP, _HEIGHT, summary)


def _to_tick(window: PastWindow, place: int) -> Tick:
    size = math.log2(max(1, window.object_count) + 1)
    height = min(_HEIGHT, _LEAST + round(2 * size))
    return Tick(judge_window(window), place * _STEP, _HEIGHT - height, height, describe_window(window))


def describe_window(window: PastWindow) -> str:
    """Return what a window held, why and when it closed, and what became of it."""
    parts = [f"{window.object_count:,} objects, {describe_bytes(window.size_bytes)}"]
    if window.closed_at is None:
        parts.append("held open" if window.held else "open")
    else:
        parts.append(f"closed ({window.reason}) {to_iso(window.closed_at)}")
        if window.run_ended_at is not None:
            parts.append(f"done after {describe_seconds(window.run_ended_at - window.closed_at)}")
    parts += [f"import {window.job_status}"] if window.job_status else []
    parts += [f"run {window.run_status}"] if window.run_status else []
    return "; ".join(parts).replace("_", " ")
