"""What a person calls an automation: by its index or by itself, by id or by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vvwatch.cli.client import Client
from vvwatch.cli.failures import Failure

_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class IndexAutomations:
    """An index and its automations, as the API answers them; None where it has none."""

    index_id: str
    index_name: str
    importing: dict[str, Any] | None
    exporting: dict[str, Any] | None

    @property
    def names(self) -> frozenset[str]:
        """Everything that this may be called."""
        ids = [self.index_id, *(each["automation_id"] for each in (self.importing, self.exporting) if each)]
        declared = [each.partition("_")[2] for each in ids]
        return frozenset([*ids, *declared, self.index_name])


def list_automations(client: Client) -> list[IndexAutomations]:
    """Every index with its automations, by one request."""
    return [
        IndexAutomations(
            each["index_id"], each["index_name"], each["import_automation"], each["export_automation"]
        )
        for each in client.get("/automations")
    ]


def find_by_name(client: Client, name: str) -> IndexAutomations:
    """The one that is called `name`. Raises Failure for none, or several."""
    everything = list_automations(client)
    found = [each for each in everything if name in each.names]
    if len(found) == 1:
        return found[0]
    ids = _join_ids([each.index_id for each in found or everything])
    if found:
        raise Failure(f"{name!r} could be any of several", f"name one by its id: {ids}")
    raise Failure(
        f"no index or automation is called {name!r}",
        f"there is: {ids}" if ids else "declare one, then reload",
    )


def _join_ids(ids: list[str]) -> str:
    rest = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return f"{', '.join(ids[:_MOST_NAMED])}{rest}"
