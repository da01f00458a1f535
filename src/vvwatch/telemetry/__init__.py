"""One call, `emit`, writes the log line, updates the metrics and calls the subscribers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from time import monotonic
from traceback import format_tb
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from structlog.typing import FilteringBoundLogger

from vvwatch.core.events import to_iso
from vvwatch.core.repeats import Past, Repeats, Report
from vvwatch.errors import StoreUnavailable, VvwatchError
from vvwatch.telemetry.catalogue import CATALOGUE
from vvwatch.telemetry.logs import FORMATS, choose_format, configure_logging, drop_object_names, redact
from vvwatch.telemetry.metrics import Totals, drop_label_values, list_label_values, make_metrics
from vvwatch.telemetry.specs import EventSpec

__all__ = ["CATALOGUE", "FORMATS", "EventSpec", "Telemetry", "choose_format", "configure_logging"]

Subscriber = Callable[[str, Mapping[str, Any]], None]
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_OUTAGE: Final = "database.unavailable"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Telemetry:
    """Logs, metrics and events of the daemon.

    Any thread may emit; subscribers are called in that thread, before `emit` returns, and must not raise.
    """

    def __init__(
        self,
        version: str,
        log: FilteringBoundLogger | None = None,
        *,
        keys: bool = True,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        """Without `log` nothing is written; `keys=False` keeps names of objects out of the log.

        `seconds` is the clock by which repeated troubles are logged at growing intervals.
        """
        self.registry = CollectorRegistry()
        self._metrics = make_metrics(self.registry)
        self._metrics["build_info"].labels(version=version).set(1)  # type: ignore[union-attr]
        self.name_parent: Callable[[str, str], str] | None = None
        """Names the span of a piece of work, for a `traceparent` header; None unless spans are exported."""
        self._log = log
        self._keys = keys
        self._subscribers: tuple[Subscriber, ...] = ()
        self._seconds = seconds
        self._repeats = Repeats()
        self._noting = Lock()

    def emit(self, event: str, /, level: str | None = None, **fields: Any) -> None:
        """Report that something happened; `level` overrides that of the catalogue.

        Empty fields stay out of the log. An exception in the field `error` becomes its message, `error_type` (unless
        given) and `hint`; one that is not ours also shows where it came from. Of equal troubles (see EventSpec) the log
        gets the first and then some; metrics and subscribers get all. Raises ValueError for an event missing from the
        catalogue.
        """
        spec = CATALOGUE.get(event)
        if spec is None:
            raise ValueError(f"no event is called {event!r}: add it to the catalogue")
        fault = fields.get("error")
        fields = _add_exception(fields, fault)
        for update in spec.updates:
            update(self._metrics, fields)
        number = _LEVELS[level or spec.level]
        more = self._worth_a_line(event, spec, number, fields, fault)
        if more is None and not self._subscribers:
            return
        shown = redact(fields)
        if more is not None:
            self._write(event, number, {**shown, **more}, fault)
        for subscriber in self._subscribers:
            subscriber(event, shown)

    def _worth_a_line(
        self, event: str, spec: EventSpec, number: int, fields: Mapping[str, Any], fault: Any
    ) -> dict[str, Any] | None:
        """Return what to log beside the fields; None for no line, as it was logged a short while ago."""
        if event != _OUTAGE and isinstance(fault, StoreUnavailable) and self._repeats.lasts((_OUTAGE,)):
            return None
        new = Report(0, 0.0) if spec.troubles is None else self._note(_trouble_key(event, spec, fields))
        if new is None or self._log is None or not self._log.is_enabled_for(number):
            return None
        return (
            {"repeats": new.unreported, "lasts_seconds": round(new.lasts_seconds)}
            if new.lasts_seconds
            else {}
        )

    def _note(self, trouble: tuple[str, ...]) -> Report | None:
        with self._noting:
            return self._repeats.note(trouble, self._seconds())

    def over(self, event: str, /, **fields: Any) -> Past | None:
        """End a trouble of `event` and return how often it came; None if none was reported.

        `fields` are those that tell its troubles apart. The caller emits the event that reports the end.
        """
        with self._noting:
            return self._repeats.end(_trouble_key(event, CATALOGUE[event], fields), self._seconds())

    @property
    def names_objects(self) -> bool:
        """Whether what is reported may name objects."""
        return self._keys

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call `callback(event, fields)` for each event, fields redacted; return a function that ends this."""
        self._subscribers = (*self._subscribers, callback)

        def unsubscribe() -> None:
            self._subscribers = tuple(each for each in self._subscribers if each is not callback)

        return unsubscribe

    def list_reported(self, label: str) -> set[str]:
        """Return the values of `label` in the gauges: the reported automations, or connectors."""
        return list_label_values(self._metrics, label)

    def forget(self, label: str, values: Iterable[str]) -> None:
        """Drop the gauges of what no longer exists: they would never change again."""
        drop_label_values(self._metrics, label, values)

    def exposition(self, *, with_names: bool = True) -> bytes:
        """Return all metrics as Prometheus text of the type CONTENT_TYPE; without names, one value for all names."""
        return generate_latest(self.registry if with_names else Totals(self.registry))

    def _write(self, event: str, number: int, fields: Mapping[str, Any], fault: Any) -> None:
        said = {name: _to_field(name, value) for name, value in fields.items() if value not in ("", None)}
        shown = said if self._keys else drop_object_names(said)
        if self._log is not None:
            self._log.log(number, event, **shown, **self._trace(fault))

    def _trace(self, fault: Any) -> dict[str, Any]:
        """Return the traceback of an internal error, without its message if that may name objects."""
        if not isinstance(fault, BaseException) or isinstance(fault, VvwatchError | OSError):
            return {}
        return {"exc_info": fault} if self._keys else {"exception": "".join(format_tb(fault.__traceback__))}


def _trouble_key(event: str, spec: EventSpec, fields: Mapping[str, Any]) -> tuple[str, ...]:
    return (event, *(str(fields.get(name, "")) for name in spec.troubles or ()))


def _to_field(name: str, value: Any) -> Any:
    """Return a moment as ISO-8601 in UTC, like every answer has it."""
    return to_iso(value) if name.endswith("_at") and isinstance(value, float) else value


def _add_exception(fields: dict[str, Any], fault: Any) -> dict[str, Any]:
    """Return `fields` with the exception `fault` spelt out."""
    if not isinstance(fault, BaseException):
        return fields
    kind = type(fault).__name__
    described = {"error": str(fault) or kind, "error_type": fields.get("error_type", kind)}
    hint = {"hint": fault.hint} if isinstance(fault, VvwatchError) and fault.hint else {}
    return {**fields, **described, **hint}
