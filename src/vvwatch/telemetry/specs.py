"""The specification of an event, and short forms to write it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vvwatch.telemetry.metrics import Update, count


@dataclass(frozen=True, slots=True)
class EventSpec:
    """An event: its default level, its meaning, the metrics it moves."""

    level: str
    doc: str
    updates: tuple[Update, ...] = ()
    troubles: tuple[str, ...] | None = None
    """The fields that tell its troubles apart: each is logged once, then at growing intervals. None: always logged."""


def debug(doc: str, *updates: Update) -> EventSpec:
    """Return an event that is logged for debugging."""
    return EventSpec("debug", doc, updates)


def info(doc: str, *updates: Update) -> EventSpec:
    """Return an event that is logged as information."""
    return EventSpec("info", doc, updates)


def warning(doc: str, *updates: Update) -> EventSpec:
    """Return an event that is logged as a warning."""
    return EventSpec("warning", doc, updates)


def error(doc: str, *updates: Update) -> EventSpec:
    """Return an event that is logged as an error."""
    return EventSpec("error", doc, updates)


def once(spec: EventSpec, *troubles: str) -> EventSpec:
    """Return the event with troubles that are equal if these fields are."""
    return replace(spec, troubles=troubles)


def count_failure(step: str) -> Update:
    """Return an update that counts a failure of this step by its type."""
    return count("errors_total", "error_type", step=step)


def count_retry(step: str) -> Update:
    """Return an update that counts a retry of this step."""
    return count("step_retries_total", step=step)
