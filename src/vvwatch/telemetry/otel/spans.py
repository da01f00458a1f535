"""Turns events into spans: one for each scan, window, import job, run, media item, export and delivery attempt."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Final, TypeVar

from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from vvwatch.core.traces import format_parent, make_span_id, make_trace_id
from vvwatch.telemetry.logs import drop_object_names

Fields = Mapping[str, Any]
T = TypeVar("T")
_MOST_OPEN: Final = 10_000
_NANOS: Final = 1_000_000_000
_LEFT_OUT: Final = frozenset({"stack", "held", "waiting"})
_BAD: Final = frozenset({"failed", "cancelled"})


class ChosenIds(IdGenerator):
    """Generates the ids that were chosen for the next span, else random ones."""

    def __init__(self) -> None:
        self.trace_id: int | None = None
        self.span_id: int | None = None

    def generate_span_id(self) -> int:
        """Return the chosen id of the span."""
        return self.span_id or secrets.randbits(64) or 1

    def generate_trace_id(self) -> int:
        """Return the chosen id of the trace."""
        return self.trace_id or secrets.randbits(128) or 1


class Spans:
    """Subscribes to events. A piece of work that another process began has a span from its end on."""

    def __init__(
        self,
        tracer: trace.Tracer,
        sampler: Sampler,
        ids: ChosenIds,
        *,
        names_objects: bool = True,
        nanos: Callable[[], int] = time.time_ns,
    ) -> None:
        """With `names_objects=False` names of objects stay out of attributes."""
        self._tracer = tracer
        self._sampler = sampler
        self._ids = ids
        self._nanos = nanos
        self._names_objects = names_objects
        self._begun: OrderedDict[str, int] = OrderedDict()
        self._jobs: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    def name_parent(self, subject: str, name: str) -> str:
        """Return the `traceparent` header of the span `name` in the trace of `subject`."""
        return format_parent(subject, name, is_sampled=self._is_sampled(subject))

    def note(self, event: str, fields: Fields) -> None:
        """Begin or end what the event is about; all others are ignored."""
        handle = _HANDLERS.get(event)
        if handle is not None:
            handle(self, fields)

    def begin(self, name: str) -> None:
        """Remember that `name` begins now; the oldest beginnings are forgotten."""
        with self._lock:
            _remember(self._begun, name, self._nanos())

    def link(self, run: str, job: str) -> None:
        """Remember that the run processes the media of the job."""
        with self._lock:
            _remember(self._jobs, run, job)

    def unlink(self, run: str) -> str:
        """Return the job of the run and forget it; empty if unknown."""
        with self._lock:
            return self._jobs.pop(run, "")

    def end(
        self,
        kind: str,
        name: str,
        fields: Fields,
        *,
        subject: str = "",
        parent: str = "",
        link: str = "",
        is_remote: bool = False,
    ) -> None:
        """Export the span `name` in the trace of `subject` (empty: one of its own), below the span `parent`.

        It links to the first span of the trace of `link`. It began when `begin` was called, or `duration_seconds` ago.
        """
        now, fields = self._nanos(), fields if self._names_objects else drop_object_names(fields)
        with self._lock:
            begun = self._begun.pop(name, None)
            if begun is None:
                begun = now - round(float(fields.get("duration_seconds") or 0) * _NANOS)
            subject = subject or f"{name}:{now}"
            above = self._context(subject, parent) if parent else None
            around = trace.set_span_in_context(trace.NonRecordingSpan(above)) if above else None
            self._ids.trace_id, self._ids.span_id = make_trace_id(subject), make_span_id(name)
            span = self._tracer.start_span(
                kind,
                context=around or trace.set_span_in_context(trace.INVALID_SPAN),
                kind=SpanKind.CLIENT if is_remote else SpanKind.INTERNAL,
                attributes={f"vvwatch.{key}": _to_attribute(value) for key, value in _select(fields)},
                links=[Link(self._context(link, link))] if link else (),
                start_time=begun,
            )
        if fields.get("error") or fields.get("status") in _BAD:
            span.set_status(Status(StatusCode.ERROR, str(fields.get("error") or fields.get("message") or "")))
        span.end(end_time=max(now, begun))

    def _context(self, subject: str, name: str) -> SpanContext:
        flags = TraceFlags.SAMPLED if self._is_sampled(subject) else TraceFlags.DEFAULT
        return SpanContext(
            make_trace_id(subject), make_span_id(name), is_remote=True, trace_flags=TraceFlags(flags)
        )

    def _is_sampled(self, subject: str) -> bool:
        """Return what the sampler decides about a trace, which depends on its id alone."""
        result = self._sampler.should_sample(None, make_trace_id(subject), "vvwatch")
        return result.decision is Decision.RECORD_AND_SAMPLE


def _remember(known: OrderedDict[str, T], name: str, value: T) -> None:
    known.setdefault(name, value)
    if len(known) > _MOST_OPEN:
        known.popitem(last=False)


def _select(fields: Fields) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in fields.items() if value not in ("", None) and key not in _LEFT_OUT]


def _to_attribute(value: Any) -> str | bool | int | float:
    return value if isinstance(value, str | bool | int | float) else str(value)


def _end_window(spans: Spans, fields: Fields) -> None:
    job = str(fields.get("import_job", ""))
    spans.end("window", str(fields.get("window", "")), fields, subject=job, parent=job)


def _end_import(spans: Spans, fields: Fields) -> None:
    job = str(fields.get("import_job", ""))
    spans.end("import", job, fields, subject=job)


def _end_file(spans: Spans, fields: Fields) -> None:
    job = str(fields.get("import_job", ""))
    spans.end("file failed", f"{job}/{fields.get('object_key')}", fields, subject=job, parent=job)


def _begin_run(spans: Spans, fields: Fields) -> None:
    spans.begin(str(fields.get("run", "")))
    spans.link(str(fields.get("run", "")), str(fields.get("import_job") or ""))


def _end_run(spans: Spans, fields: Fields) -> None:
    run = str(fields.get("run", ""))
    spans.end("run", run, fields, subject=run, link=spans.unlink(run))


def _end_item(spans: Spans, fields: Fields) -> None:
    run, media = str(fields.get("run", "")), str(fields.get("media", ""))
    spans.end("item", f"{run}/{media}", fields, subject=run, parent=run)


def _end_export(spans: Spans, fields: Fields) -> None:
    export, run = str(fields.get("export", "")), str(fields.get("run") or "")
    spans.end("export", export, fields, subject=run or export, parent=run)


def _end_delivery(spans: Spans, fields: Fields) -> None:
    delivery, about = str(fields.get("delivery", "")), str(fields.get("about") or "")
    name = f"{delivery}-{fields.get('attempt')}"
    spans.end("delivery", name, fields, subject=about or delivery, parent=about, is_remote=True)


def _end_scan(spans: Spans, fields: Fields) -> None:
    spans.end("scan", f"scan:{fields.get('automation')}", fields)


def _beginning(field: str) -> Callable[[Spans, Fields], None]:
    return lambda spans, fields: spans.begin(str(fields.get(field, "")))


_HANDLERS: Final[Mapping[str, Callable[[Spans, Fields], None]]] = {
    "scan.finished": _end_scan,
    "scan.failed": _end_scan,
    "reconcile.finished": _end_scan,
    "window.opened": _beginning("window"),
    "window.closed": _end_window,
    "import.started": _beginning("import_job"),
    "import.file_failed": _end_file,
    "import.finished": _end_import,
    "run.started": _begin_run,
    "run.item_finished": _end_item,
    "run.finished": _end_run,
    "export.started": _beginning("export"),
    "export.finished": _end_export,
    "export.failed": _end_export,
    "delivery.sent": _end_delivery,
    "delivery.retried": _end_delivery,
    "delivery.failed": _end_delivery,
}
