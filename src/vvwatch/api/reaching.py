"""Which connectors reach an object, by what a person calls it."""

from __future__ import annotations

import os
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

import anyio.to_thread
import sqlalchemy as sa

from vvwatch.api.context import ApiContext
from vvwatch.api.errors import ApiError
from vvwatch.errors import InvalidInput, VvwatchError
from vvwatch.ports import Storage
from vvwatch.store import catalog

_PROBE: Final = "x"


async def reaching(context: ApiContext, uri: str) -> list[tuple[sa.Row[Any], str]]:
    """Each connector that reaches the address, with its key there; raises ApiError (404) when none does."""
    address = await anyio.to_thread.run_sync(plain_address, uri)
    found, whole = [], []
    for row in await context.database.read(catalog.list_connectors):
        key = await key_in(context, row, address)
        if key:
            found.append((row, key))
        elif key == "":
            whole.append(row.id)
    if whole and not found:
        raise InvalidInput(f"{uri!r} is all of connector {whole[0]!r}, not an object", "name a file in it")
    if not found:
        hint = "`vvwatch status` shows what is watched"
        raise ApiError(404, "resource_connector_not_found", f"no connector reaches {uri!r}", hint)
    return found


async def key_in(context: ApiContext, row: sa.Row[Any], address: str) -> str | None:
    """The key of the address in a connector, empty for the connector itself; None where that does not reach it.

    An object store's address says all. Where a folder really lies only the folder tells.
    """
    if known := context.addresses(row):
        return next((key for each in known if (key := each.key_at(address)) is not None), None)
    try:
        storage = await context.open_storage(row)
        base = _base(storage)
        return "" if address.rstrip("/") == base.rstrip("/") else _key_at(storage, address)
    except VvwatchError:
        return None


def plain_address(uri: str) -> str:
    """A path of this machine as an address, with the links of its folder resolved."""
    if not uri.startswith("/"):
        return uri
    folder, name = os.path.split(uri)
    return "file://" + quote(os.path.join(os.path.realpath(folder), name))  # noqa: PTH118  # text, not a file


def _base(storage: Storage) -> str:
    """What the addresses of all its objects begin with."""
    return storage.uri(_PROBE).removesuffix(_PROBE)


def _key_at(storage: Storage, address: str) -> str | None:
    base = _base(storage)
    if not address.startswith(base) or address == base:
        return None
    rest = address.removeprefix(base)
    decoded = unquote_to_bytes(rest).decode(errors="backslashreplace")  # as listings spell what is not UTF-8
    return next((key for key in (decoded, rest) if storage.uri(key) == address), decoded)
