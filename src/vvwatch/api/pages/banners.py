"""What every page says on top while it lasts: paused, failing and unproven automations, lost nodes, the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vvwatch.api.http.context import ApiContext
from vvwatch.store.admin.banner_queries import Troubled, count_troubled


@dataclass(frozen=True, slots=True)
class Banner:
    """One line; `link` leads to what it is about."""

    kind: str
    text: str
    link: str = ""


async def find_banners(context: ApiContext) -> tuple[Banner, ...]:
    """Return the banners of now."""
    daemon = await context.status()
    return tuple(_list(await context.database.read(count_troubled), daemon))


def _list(found: Troubled, daemon: Mapping[str, Any]) -> Iterator[Banner]:
    database = daemon.get("database") or {}
    if not database.get("writable", True):
        yield Banner("bad", f"The database is not writable: {database.get('error') or 'unknown reason'}")
    for node in daemon.get("nodes") or ():
        if node["loss"]:
            yield Banner("bad", f"The node {node['name']} {node['loss']}")
    if found.failing:
        yield Banner("bad", _count(found.failing, "is failing", "are failing"), "/?show=failing")
    if found.unproven:
        yield Banner(
            "warn",
            _count(found.unproven, "misses known objects", "miss known objects")
            + ": they do not count as deleted until that is proven or accepted",
            "/?show=unproven",
        )
    if found.paused:
        yield Banner("idle", _count(found.paused, "is paused", "are paused"), "/?show=paused")
    if found.exports_paused:
        several = (
            "The exports of 1 index are"
            if found.exports_paused == 1
            else f"The exports of {found.exports_paused:,} indexes are"
        )
        yield Banner("idle", f"{several} paused", "/?show=paused")


def _count(count: int, one: str, several: str) -> str:
    return f"1 automation {one}" if count == 1 else f"{count:,} automations {several}"
