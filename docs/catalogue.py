"""Write the tables of metrics and log events into `docs/monitoring.md`: `--write`; without it they are printed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from vvwatch.telemetry import CATALOGUE
from vvwatch.telemetry.metrics import make_metrics

PAGE: Final = Path(__file__).parent / "monitoring.md"
_DOC: Final = re.compile(r"(?P<meaning>[^()]+?)(?: \((?P<fields>[a-z_, ]+)\))?\.$")


def list_metrics() -> Iterator[str]:
    """Yield the rows of the table of metrics, by their names."""
    yield "| metric | type | labels | meaning |"
    yield "|---|---|---|---|"
    metrics = make_metrics(CollectorRegistry())
    for name in sorted(metrics):
        metric = metrics[name]
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001  # nothing public has them
        yield f"| `vvwatch_{name}` | {metric._type} | {labels} | {metric._documentation} |"  # noqa: SLF001  # as above


def list_events() -> Iterator[str]:
    """Yield the rows of the table of events, in the order of the catalogue."""
    yield "| event | level | meaning | fields |"
    yield "|---|---|---|---|"
    for name, spec in CATALOGUE.items():
        found = _DOC.match(spec.doc)
        if found is None:
            raise ValueError(f"the meaning of {name} has another form: {spec.doc}")
        fields = ", ".join(f"`{each}`" for each in (found["fields"] or "").split(", ") if each)
        level = f"{spec.level}, repeated" if spec.troubles is not None else spec.level
        yield f"| `{name}` | {level} | {found['meaning']} | {fields} |"


TABLES: Final = {"metrics": list_metrics, "events": list_events}


def fill(page: str) -> str:
    """Return the page with both tables between their marks."""
    for name, rows in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = "".join((before, begin, "\n".join(rows()), "\n", end, after))
    return page


if __name__ == "__main__":
    filled = fill(PAGE.read_text(encoding="utf-8"))
    if "--write" in sys.argv:
        PAGE.write_text(filled, encoding="utf-8")
    else:
        print(filled, end="")  # noqa: T201  # its answer
