"""Ids of traces and spans that follow from ids of ours: all nodes, before and after a restart, make the same ones.

A trace tells of one import job (with its window) or of one prompt run (with its exports and deliveries).
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

_SUBJECTS: Final = ("prompt_run_id", "run_id", "import_job_id", "export_id")


def make_trace_id(subject: str) -> int:
    """Return the trace of a job, a run or an export: 128 bits, never 0."""
    return int.from_bytes(sha256(f"trace:{subject}".encode()).digest()[:16], "big") or 1


def make_span_id(name: str) -> int:
    """Return the span of a piece of work that has this name: 64 bits, never 0."""
    return int.from_bytes(sha256(f"span:{name}".encode()).digest()[:8], "big") or 1


def format_parent(subject: str, name: str, *, is_sampled: bool) -> str:
    """Return the W3C `traceparent` that names the span `name` in the trace of `subject`."""
    return f"00-{make_trace_id(subject):032x}-{make_span_id(name):016x}-{int(is_sampled):02x}"


def find_subject(data: Mapping[str, Any]) -> str:
    """Return whose trace an event with these data belongs to; empty for none."""
    return next((str(data[name]) for name in _SUBJECTS if data.get(name)), "")
