"""Ask the store for the object at a key, with a short timeout."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import anyio

from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.wire import Resource, to_iso
from vvwatch.core.objects import StorageObject
from vvwatch.errors import ObjectNotFound, StorageError, VvwatchError
from vvwatch.ports import Irregularity, Storage
from vvwatch.store.models.catalog import Connector
from vvwatch.workflow.listings import closing

_MAX_SECONDS: Final = 10.0  # a person waits for the answer


class Standing(Resource):
    """The object at the key; `error` says why its state is unknown, or why the entry is no object."""

    exists: bool | None
    version: str | None
    size_bytes: int | None
    modified_at: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Here:
    """The state at the connector: its status, the object, and an entry that is no object (`irregular`).

    `atomic`: objects are complete once visible; otherwise `in_use` says whether a writer has this one open.
    """

    uri: str
    status: str
    obj: StorageObject | None
    standing: Standing
    atomic: bool = True
    in_use: bool = False
    irregular: Irregularity | None = None


async def look_up(context: ApiContext, row: Connector, key: str) -> Here:
    """Return the state of a key. It reports a store that cannot be opened or does not answer.

    Raises the error of opening if only the storage knows the URI.
    """
    try:
        storage = await context.open_storage(row)
    except VvwatchError as error:
        addresses = context.addresses(row)
        if not addresses:
            raise
        return Here(addresses[0].of(key), row.status, None, _unknown(error.message))
    uri = storage.uri(key)
    try:
        with anyio.fail_after(_MAX_SECONDS):
            return await _look_up(row, storage, uri, key)
    except StorageError as error:
        return Here(uri, row.status, None, _unknown(error.message))
    except TimeoutError:
        what = f"the store did not respond within {_MAX_SECONDS:g} seconds"
        return Here(uri, row.status, None, _unknown(what))


async def _look_up(row: Connector, storage: Storage, uri: str, key: str) -> Here:
    atomic = storage.capabilities.atomic_writes
    try:
        obj = await storage.stat(key)
    except ObjectNotFound:
        found = None if atomic else await _find_irregularity(storage, key)
        return Here(uri, row.status, None, _missing(found), atomic, irregular=found)
    in_use = False
    if not atomic:
        with suppress(StorageError):
            in_use = key in await storage.in_use([key])
    return Here(uri, row.status, obj, _existing(obj), atomic, in_use)


async def _find_irregularity(storage: Storage, key: str) -> Irregularity | None:
    """Return the listing's verdict on the key if it exists but is no object."""
    with suppress(StorageError):
        async with closing(storage.list(key, recursive=False)) as pages:
            async for page in pages:
                if found := next((each for each in page.irregular if each.key == key), None):
                    return found
    return None


def _existing(obj: StorageObject) -> Standing:
    return Standing(
        exists=True,
        version=obj.version,
        size_bytes=obj.size_bytes,
        modified_at=to_iso(obj.modified_at),
        error=None,
    )


def _missing(found: Irregularity | None) -> Standing:
    error = None if found is None else found.detail
    return Standing(exists=False, version=None, size_bytes=None, modified_at=None, error=error)


def _unknown(error: str) -> Standing:
    return Standing(exists=None, version=None, size_bytes=None, modified_at=None, error=error)
