"""Find the connectors that reach a URI or path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import anyio.to_thread

from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.errors import ApiError
from vvwatch.errors import InvalidInput, VvwatchError
from vvwatch.ports import Storage
from vvwatch.providers.registry import EXAMPLE
from vvwatch.store.catalog import catalog
from vvwatch.store.models.catalog import Connector

_PROBE: Final = "x"


async def resolve_uri(context: ApiContext, uri: str) -> list[tuple[Connector, str]]:
    """Return each connector that reaches the URI, with the object's key; raises ApiError (404) if none does."""
    addresses = await anyio.to_thread.run_sync(plain_addresses, uri)
    found, whole = [], []
    for row in await context.database.read(catalog.list_connectors):
        key = await key_at_any(context, row, addresses)
        if key:
            found.append((row, key))
        elif key == "":
            whole.append(row.id)
    if whole and not found:
        raise InvalidInput(
            f"{uri!r} is the location of connector {whole[0]!r}, not an object", "name a file in it"
        )
    if not found:
        hint = "`vvwatch status` shows the watched locations"
        if uri.startswith(("/", "file:")):
            hint += f"; give cloud objects by URI, as {EXAMPLE.uri}"
        raise ApiError(404, "resource_connector_not_found", f"no connector reaches {uri!r}", hint)
    return found


async def key_at_any(context: ApiContext, row: Connector, addresses: Sequence[str]) -> str | None:
    """Return the key of the first address that the connector reaches, like `key_in`."""
    for address in addresses:
        key = await key_in(context, row, address)
        if key is not None:
            return key
    return None


async def key_in(context: ApiContext, row: Connector, address: str) -> str | None:
    """Return the address's key in a connector, empty for the connector itself; None if it does not reach it.

    An object store's address is enough. Only the folder itself can resolve a local path.
    """
    if known := context.addresses(row):
        return next((key for each in known if (key := each.key_at(address)) is not None), None)
    try:
        storage = await context.open_storage(row)
        base = _base_address(storage)
        return "" if address.rstrip("/") == base.rstrip("/") else _key_at(storage, address)
    except VvwatchError:
        return None


def plain_addresses(uri: str) -> list[str]:
    """Return the addresses that `uri` may mean, for a local path first with its folder's links resolved.

    The unresolved path may name what a link inside a watched folder hides, which can be explained.
    """
    path = _decode(uri.removeprefix("file://")) if uri.startswith("file:///") else uri
    if not path.startswith("/") or "\0" in path:
        return [uri]
    folder, name = os.path.split(path)
    resolved = os.path.join(os.path.realpath(folder), name)  # noqa: PTH118  # text, not a file
    return list(dict.fromkeys(f"file://{quote(os.fsencode(each))}" for each in (resolved, path)))


def _decode(quoted: str) -> str:
    return os.fsdecode(unquote_to_bytes(quoted.encode(errors="surrogatepass")))


def _base_address(storage: Storage) -> str:
    """Return the common prefix of all its objects' addresses."""
    return storage.uri(_PROBE).removesuffix(_PROBE)


def _key_at(storage: Storage, address: str) -> str | None:
    base = _base_address(storage)
    if not address.startswith(base) or address == base:
        return None
    rest = address.removeprefix(base)
    decoded = unquote_to_bytes(rest).decode(errors="backslashreplace")  # as listings spell invalid UTF-8
    return next((key for key in (decoded, rest) if storage.uri(key) == address), decoded)
