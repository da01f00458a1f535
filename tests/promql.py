"""What an expression of PromQL names: metrics, the labels that it matches, and those that it groups by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from vvwatch.telemetry.metrics import make_metrics

OF_PROMETHEUS = {"up"}
LABELS_OF_PROMETHEUS = {"job", "instance", "le"}
_SELECTOR = re.compile(r"\b((?:vvwatch|process)_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\bby\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Selector:
    metric: str
    matchers: tuple[tuple[str, str, str], ...]

    def fits(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a sample is selected, but for labels that Prometheus adds."""
        return name == self.metric and all(
            _holds(labels.get(label, ""), sign, value)
            for label, sign, value in self.matchers
            if label not in LABELS_OF_PROMETHEUS
        )


def _holds(found: str, sign: str, value: str) -> bool:
    is_equal = found == value if "~" not in sign else re.fullmatch(value, found) is not None
    return is_equal is not sign.startswith("!")


def selectors(expression: str) -> list[Selector]:
    return [
        Selector(name, tuple((label, sign, value) for label, sign, value in _MATCHER.findall(matchers)))
        for name, matchers in _SELECTOR.findall(expression)
    ]


def labels_named(expression: str) -> Iterator[str]:
    for selector in selectors(expression):
        yield from (label for label, _, _ in selector.matchers)
    for names in _GROUPING.findall(expression):
        yield from (name.strip() for name in names.split(",") if name.strip())


def labels_of_metrics() -> dict[str, set[str]]:
    """The labels of each series that /metrics may have, by the series' name."""
    found: dict[str, set[str]] = {}
    for name, metric in make_metrics(CollectorRegistry()).items():
        ends = ("_bucket", "_sum", "_count") if metric._type == "histogram" else ("",)
        for end in ends:
            found[f"vvwatch_{name}{end}"] = set(metric._labelnames)
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"):
        found[name] = set()
    return found | {name: set[str]() for name in OF_PROMETHEUS}


def faults_of(expression: str) -> list[str]:
    """What is wrong with an expression: a metric that does not exist, a label that its metrics lack."""
    known = labels_of_metrics()
    named = selectors(expression)
    unknown = [f"no metric is called {each.metric}" for each in named if each.metric not in known]
    if unknown or not named:
        return unknown or [f"it names no metric: {expression}"]
    there = LABELS_OF_PROMETHEUS.union(*(known[each.metric] for each in named))
    return [
        f"no metric of it has the label {label}" for label in labels_named(expression) if label not in there
    ]
