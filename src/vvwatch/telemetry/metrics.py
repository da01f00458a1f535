"""The Prometheus metrics, and how events update them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import Metric

Fields = Mapping[str, Any]
Metrics = Mapping[str, Counter | Gauge | Histogram]
Update = Callable[[Metrics, Fields], None]

_STATES: Final = ("starting", "healthy", "degraded", "failed")
_FAST: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SLOW: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400)

_GAUGES: Final = {
    "build_info": ("The running version; always 1.", ("version",)),
    "config_last_reload_successful": ("Whether the last reload of the configuration was applied.", ()),
    "config_last_reload_success_timestamp_seconds": ("When a configuration was last applied.", ()),
    "last_scan_timestamp_seconds": ("When a scan was last complete.", ("automation",)),
    "last_success_timestamp_seconds": ("When an import job was last completed.", ("automation",)),
    "source_healthy": ("Whether changes are seen before the next scan.", ("automation",)),
    "queue_healthy": ("Whether the event queue of a connector reports changes.", ("connector",)),
    "source_state": ("1 for the state that the source of changes is in.", ("automation", "state")),
    "queue_state": ("1 for the state that the queue of a connector is in.", ("connector", "state")),
    "stretched": ("Whether scans are further apart than configured, to keep a budget.", ("automation",)),
    "last_complete_sweep_timestamp_seconds": ("When a full scan was last complete.", ("automation",)),
    "automation_failing": ("Whether the last scan of an automation failed.", ("automation",)),
    "scan_unproven": ("Whether objects are missing that do not count as deleted yet.", ("automation",)),
    "oldest_waiting_seconds": ("The age of the oldest unfinished piece of work.", ("stage",)),
    "spend_usd": (
        "What calls cost in this UTC day or month, as far as prices are known.",
        ("processor", "period"),
    ),
    "budget_used_ratio": ("The part of a budget that is spent; 1 is all of it.", ("processor", "period")),
    "spool_used_bytes": ("Room that media on their way take.", ()),
    "spool_limit_bytes": ("Room that media on their way may take.", ()),
    "state_dir_free_bytes": ("Free room on the disk of the state directory.", ()),
    "state_dir_size_bytes": ("The size of the disk of the state directory.", ()),
    "nodes_up": ("Nodes that work.", ()),
    "files_pending": ("Files of import jobs that are not finished.", ()),
    "items_pending": ("Media items of prompt runs that are not finished.", ()),
    "windows_open": ("Windows that gather objects now.", ()),
    "delivery_backlog": ("Deliveries that are due or wait for a retry.", ()),
    "connections_open": ("Connections to the API that are open.", ()),
    "nodes_lost": ("Nodes that were lost within the last day and are not back.", ()),
    "jobs_due": ("Pieces of work that are due.", ()),
    "event_loop_blocked_seconds": (
        "The longest time in the last minute for which the event loop was blocked.",
        (),
    ),
}
_COUNTERS: Final = {
    "scans_total": ("Scans: listings compared with the ledger.", ("outcome",)),
    "objects_listed_total": ("Objects that listings reported.", ()),
    "list_calls_total": ("Requests that listings took.", ()),
    "objects_gone_total": ("Objects of the ledger that full scans found gone.", ()),
    "objects_recovered_total": (
        "New objects that a full scan found although events should have reported them.",
        (),
    ),
    "changes_total": ("New objects taken into windows.", ()),
    "changes_skipped_total": ("New objects that were skipped.", ("reason",)),
    "queue_messages_received_total": ("Messages taken from event queues.", ("connector",)),
    "queue_messages_acknowledged_total": ("Messages deleted from event queues.", ("connector",)),
    "queue_messages_quarantined_total": ("Messages that no automation could use.", ("connector",)),
    "windows_closed_total": ("Windows that became import jobs.", ("reason",)),
    "import_jobs_total": ("Import jobs that ended.", ("status",)),
    "import_files_total": ("Files of import jobs that ended.", ("status",)),
    "import_files_failed_total": ("Files that could not be imported.", ("reason",)),
    "scans_unproven_total": ("Full scans that lacked too much to be believed.", ()),
    "run_items_total": ("Media items of prompt runs that ended.", ("status",)),
    "runs_total": ("Prompt runs that ended.", ("status",)),
    "processor_calls_total": ("Calls of models that ended.", ("processor", "status")),
    "processor_input_tokens_total": ("Tokens that models were sent.", ("processor",)),
    "processor_output_tokens_total": ("Tokens that models answered with.", ("processor",)),
    "processor_cost_usd_total": (
        "What calls cost in US dollars, as far as prices are known.",
        ("processor",),
    ),
    "processor_pauses_total": ("Pauses of processors.", ("processor", "reason")),
    "processor_hold_backs_total": ("How often an endpoint asked us to slow down.", ("processor",)),
    "exports_total": ("Exports that ended.", ("status",)),
    "webhooks_disabled_total": ("Webhooks that were disabled because they failed too often.", ()),
    "deliveries_total": ("Attempts to deliver an event.", ("outcome",)),
    "alerts_total": ("Attempts to alert people.", ("outcome",)),
    "connections_refused_total": ("Connections that were refused because a limit was reached.", ("reason",)),
    "connections_closed_total": ("Connections that the server closed.", ("reason",)),
    "step_retries_total": ("Steps that will be tried again.", ("step",)),
    "database_transactions_total": ("Transactions that wrote to the database.", ()),
    "database_reruns_total": ("Transactions that ran again after a conflict with another.", ()),
    "event_loop_blocks_total": ("How often the event loop was blocked for 250 ms or longer.", ()),
    "requests_refused_total": ("Requests refused before they had any effect.", ("reason",)),
    "errors_total": ("Failures.", ("step", "error_type")),
}
_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "scans_total": ("ok", "failed"),
    "import_jobs_total": ("completed", "failed", "cancelled"),
    "import_files_total": ("imported", "failed", "skipped"),
    "run_items_total": ("completed", "partial", "failed"),
    "runs_total": ("completed", "completed_with_failures", "failed", "cancelled"),
    "exports_total": ("completed", "failed"),
    "deliveries_total": ("delivered", "retrying", "failed"),
    "alerts_total": ("sent", "retrying", "failed"),
}
"""Values of a counter's only label that are there, as 0, before the first event: `increase` needs them."""
NAME_LABELS: Final = ("automation", "connector", "processor")
"""The labels with values that people chose: names and ids from the configuration."""
_TOTALS: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {
    "vvwatch_last_scan_timestamp_seconds": min,
    "vvwatch_last_success_timestamp_seconds": min,
    "vvwatch_last_complete_sweep_timestamp_seconds": min,
    "vvwatch_source_healthy": min,
    "vvwatch_queue_healthy": min,
    "vvwatch_stretched": max,
    "vvwatch_automation_failing": max,
    "vvwatch_scan_unproven": max,
    "vvwatch_spend_usd": max,
    "vvwatch_budget_used_ratio": max,
}
"""How a gauge's values for several names become one: the worst of them. All other gauges are added up."""
_HISTOGRAMS: Final[dict[str, tuple[str, tuple[float, ...]]]] = {
    "event_lag_seconds": ("The age of a batch's oldest message when it was done with.", _FAST),
    "scan_duration_seconds": ("The time of a whole listing.", _SLOW),
    "item_duration_seconds": ("The time of processing one media item.", _SLOW),
    "delivery_duration_seconds": ("The time of one delivery attempt.", _FAST),
}


def make_metrics(registry: CollectorRegistry) -> Metrics:
    """Create all metrics in `registry`, with those of the process; return ours by name (without `vvwatch_`)."""
    ProcessCollector(registry=registry)
    metrics: dict[str, Counter | Gauge | Histogram] = {}
    for name, (text, labels) in _GAUGES.items():
        metrics[name] = Gauge(f"vvwatch_{name}", text, labels, registry=registry)
    for name, (text, labels) in _COUNTERS.items():
        metrics[name] = Counter(f"vvwatch_{name}", text, labels, registry=registry)
    for name, values in _KNOWN.items():
        for value in values:
            metrics[name].labels(value)
    for name, (text, buckets) in _HISTOGRAMS.items():
        metrics[name] = Histogram(f"vvwatch_{name}", text, buckets=buckets, registry=registry)
    return metrics


def count(name: str, *labels: str, by: str = "", **fixed: str) -> Update:
    """Return an update that adds one, or the event's field `by`; `labels` are filled from fields of those names."""

    def update(metrics: Metrics, fields: Fields) -> None:
        amount = fields.get(by, 1) if by else 1
        _find_child(metrics[name], labels, fixed, fields).inc(amount)

    return update


def observe(name: str, field: str = "duration_seconds") -> Update:
    """Return an update that adds the event's field, if present, to a histogram."""

    def update(metrics: Metrics, fields: Fields) -> None:
        if (value := fields.get(field)) is not None:
            metrics[name].observe(value)  # type: ignore[union-attr]

    return update


def set_gauge(name: str, *labels: str, value: float | None = None) -> Update:
    """Return an update that sets a gauge to `value`, or to the event's field of the gauge's name if present."""

    def update(metrics: Metrics, fields: Fields) -> None:
        number = fields.get(name) if value is None else value
        if number is not None:
            _find_child(metrics[name], labels, {}, fields).set(number)

    return update


def set_each(name: str, *labels: str) -> Update:
    """Return an update that sets a gauge from the event's field of its name, if present, and drops other values.

    The field maps the value of the label, or a tuple of those of all `labels`, to a number.
    """

    def update(metrics: Metrics, fields: Fields) -> None:
        if (values := fields.get(name)) is None:
            return
        gauge: Any = metrics[name]
        wanted = {(each,) if isinstance(each, str) else each: number for each, number in values.items()}
        for each, number in wanted.items():
            gauge.labels(*each).set(number)
        [family] = gauge.collect()
        for sample in family.samples:
            if (found := tuple(sample.labels[label] for label in labels)) not in wanted:
                gauge.remove(*found)

    return update


def set_state(name: str, label: str, state: str) -> Update:
    """Return an update that sets the gauge of `state` to 1 and those of all other states to 0."""

    def update(metrics: Metrics, fields: Fields) -> None:
        for each in _STATES:
            _find_child(metrics[name], (label,), {"state": each}, fields).set(each == state)

    return update


def set_time(name: str, *labels: str, **only: object) -> Update:
    """Return an update that sets a gauge to the current time, for events whose fields have the values `only`."""

    def update(metrics: Metrics, fields: Fields) -> None:
        if all(fields.get(field) == value for field, value in only.items()):
            _find_child(metrics[name], labels, {}, fields).set_to_current_time()

    return update


class Totals:
    """The metrics of `registry` without the labels of NAME_LABELS: one value for all names."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Yield each family of metrics."""
        for family in self._registry.collect():
            if any(label in sample.labels for sample in family.samples for label in NAME_LABELS):
                yield _total(family)
            else:
                yield family


def _total(family: Metric) -> Metric:
    values: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}
    for sample in family.samples:
        kept = tuple((label, value) for label, value in sample.labels.items() if label not in NAME_LABELS)
        values.setdefault((sample.name, kept), []).append(sample.value)
    whole = Metric(family.name, family.documentation, family.type, family.unit)
    for (name, labels), each in values.items():
        combine = min if name.endswith("_created") else _TOTALS.get(name, sum)
        whole.add_sample(name, dict(labels), combine(each))
    return whole


def list_label_values(metrics: Metrics, label: str) -> set[str]:
    """Return the values that `label` has in gauges now."""
    samples = (
        sample
        for each in _gauges_by(metrics, label)
        for family in each.collect()
        for sample in family.samples
    )
    return {sample.labels[label] for sample in samples}


def drop_label_values(metrics: Metrics, label: str, values: Iterable[str]) -> None:
    """Drop gauges where `label` has one of `values`; counters are history and stay."""
    for value in values:
        for each in _gauges_by(metrics, label):
            each.remove_by_labels({label: value})


def _gauges_by(metrics: Metrics, label: str) -> Iterator[Any]:
    return (metrics[name] for name, (_, labels) in _GAUGES.items() if label in labels)


def _find_child(metric: Any, labels: tuple[str, ...], fixed: Mapping[str, str], fields: Fields) -> Any:
    """Return the metric's child for these labels; missing fields are `unknown`."""
    values = {**fixed, **{label: str(fields.get(label, "unknown")) for label in labels}}
    return metric.labels(**values) if values else metric
