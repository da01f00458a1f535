"""What a person calls an automation: by its index or by itself, by id or by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vvwatch.cli.client import Client, segment
from vvwatch.cli.failures import Failure


@dataclass(frozen=True, slots=True)
class Watched:
    """An index and its automations, as the API answers them; None where it has none."""

    index: dict[str, Any]
    importing: dict[str, Any] | None
    exporting: dict[str, Any] | None

    @property
    def index_id(self) -> str:
        """The id of the index."""
        return str(self.index["index_id"])

    @property
    def names(self) -> frozenset[str]:
        """Everything that this may be called."""
        ids = [self.index_id, *(each["automation_id"] for each in (self.importing, self.exporting) if each)]
        declared = [each.partition("_")[2] for each in ids]
        return frozenset([*ids, *declared, str(self.index["name"])])


def watched(client: Client) -> Iterator[Watched]:
    """Every index with its automations."""
    for index in client.get("/indexes"):
        path = f"/indexes/{segment(index['index_id'])}/automations"
        yield Watched(index, client.find(f"{path}/import"), client.find(f"{path}/export"))


def called(client: Client, name: str) -> Watched:
    """The one that is called `name`. Raises Failure for none, or several."""
    everything = list(watched(client))
    found = [each for each in everything if name in each.names]
    if len(found) == 1:
        return found[0]
    ids = ", ".join(each.index_id for each in found or everything)
    if found:
        raise Failure(f"{name!r} could be any of several", f"name one by its id: {ids}")
    raise Failure(
        f"no index or automation is called {name!r}",
        f"there is: {ids}" if ids else "declare one, then reload",
    )
