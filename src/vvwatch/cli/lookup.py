"""Finds an automation by its index or its own name, by id or name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vvwatch.cli.client import Client
from vvwatch.cli.failures import Failure
from vvwatch.cli.ids import match_names

_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class IndexAutomations:
    """An index and its automations as the API returns them; None for a missing one."""

    index_id: str
    index_name: str
    importing: dict[str, Any] | None
    exporting: dict[str, Any] | None

    @property
    def names(self) -> frozenset[str]:
        """Every name and id that means this one."""
        ids = [self.index_id, *(each["automation_id"] for each in (self.importing, self.exporting) if each)]
        declared = [each.partition("_")[2] for each in ids]
        return frozenset([*ids, *declared, self.index_name])


def list_automations(client: Client) -> list[IndexAutomations]:
    """Return every index with its automations, in one request."""
    return [
        IndexAutomations(
            each["index_id"], each["index_name"], each["import_automation"], each["export_automation"]
        )
        for each in client.get("/automations")
    ]


def find_by_name(client: Client, name: str) -> IndexAutomations:
    """Return the index or automation called `name`. Raises Failure for none, or several."""
    everything = list_automations(client)
    found = [each for each in everything if name in each.names]
    found = found or [each for each in everything if match_names(name, tuple(each.names))]
    if len(found) == 1:
        return found[0]
    ids = _join_ids([each.index_id for each in found or everything])
    if found:
        raise Failure(
            f"{name!r} could be any of several", f"name one by its id: {ids}", reason="ambiguous_id"
        )
    raise Failure(
        f"no index or automation is called {name!r}",
        f"there is: {ids}" if ids else "declare one, then reload",
    )


def _join_ids(ids: list[str]) -> str:
    rest = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return f"{', '.join(ids[:_MOST_NAMED])}{rest}"
