"""What the team knows about a file, gathered at its import, as its automation asks.

What cannot be read or understood is a warning on the file, never a failed import; a store that is away is tried again
with the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread

from vvwatch.core import facts
from vvwatch.core.outputs import Output
from vvwatch.core.path_templates import PathTemplate
from vvwatch.errors import InvalidInput, ObjectNotFound, StorageError, StorageUnavailable, VvwatchError
from vvwatch.ports import Job, Storage
from vvwatch.store.db.database import Database
from vvwatch.store.runs import fact_updates
from vvwatch.store.runs.fact_updates import UpdateWork
from vvwatch.store.watching import own_files
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.own_files import is_unchanged
from vvwatch.workflow.pipeline.reading import Reading, to_known_error


@dataclass
class GatheredFacts:
    """What was found, by where it comes from, and what could not be read."""

    found: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


async def gather_facts(
    database: Database, storage: Storage, place: tuple[str, str], wanted: Mapping[str, Any], prefix: str
) -> GatheredFacts:
    """Return what is known of the object at `place` (key and version). Raises StorageUnavailable."""
    key, version = place
    gathered = GatheredFacts()
    if wanted.get("path"):
        _read_path(gathered, str(wanted["path"]), key, prefix)
    if "sidecar" in wanted["sources"]:
        await _read_sidecars(gathered, database, storage, key)
    if "metadata" in wanted["sources"]:
        await _read_metadata(gathered, storage, key, version)
    return gathered


def _read_path(gathered: GatheredFacts, template: str, key: str, prefix: str) -> None:
    below = key.removeprefix(prefix)
    fields = PathTemplate(template).read(below)
    if fields is None:
        gathered.warnings.append(f"the path {below!r} does not fit path_fields {template!r}")
    else:
        gathered.found["path"] = facts.clean_texts(fields)


async def _read_sidecars(gathered: GatheredFacts, database: Database, storage: Storage, key: str) -> None:
    """Read the first sidecar that there is and that no export wrote, or that somebody changed since."""
    names = facts.name_sidecars(key)
    own = await database.read(own_files.find_outputs, [storage.uri(name) for name in names])
    for name in names:
        try:
            data = await _read_small(storage, name, own.get(storage.uri(name)))
            if data is None:
                continue
            fields = await anyio.to_thread.run_sync(facts.read_sidecar, name, data)
            gathered.found["sidecar"] = {"key": name, "fields": fields}
        except ObjectNotFound:
            continue
        except StorageUnavailable:
            raise
        except (StorageError, InvalidInput) as error:
            gathered.warnings.append(f"the sidecar {name!r} cannot be used: {error.message}")
            continue
        return


async def _read_small(storage: Storage, key: str, own: Output | None) -> bytes | None:
    """Return the content; None if it is what an export wrote there.

    Raises InvalidInput if it is too large, and what the storage raises.
    """
    if own is not None and not own.written:
        return None
    there = await storage.stat(key)
    if own is not None and await is_unchanged(storage, there, own):
        return None
    if there.size_bytes > facts.MOST_SIDECAR_BYTES:
        raise InvalidInput(f"it is larger than {facts.MOST_SIDECAR_BYTES >> 20} MiB")
    async with storage.stream(key, there.version) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def _read_metadata(gathered: GatheredFacts, storage: Storage, key: str, version: str) -> None:
    try:
        known = await storage.facts(key, version)
    except StorageUnavailable:
        raise
    except StorageError as error:
        gathered.warnings.append(f"the object's metadata cannot be read: {error.message}")
        return
    for name, values in (("metadata", known.metadata), ("tags", known.tags)):
        if values:
            gathered.found[name] = facts.clean_texts(values)
    gathered.warnings += known.warnings


class FactUpdates:
    """Reads sidecars that came after their media, or changed."""

    def __init__(self, database: Database, telemetry: Telemetry, reading: Reading) -> None:
        self._database = database
        self._telemetry = telemetry
        self._reading = reading

    async def update(self, job: Job) -> None:
        """Handle one media item. What cannot be used changes nothing, as does a sidecar that is gone."""
        work = await self._database.write(fact_updates.begin, job)
        if work is None:
            return
        gathered = GatheredFacts()
        try:
            storage = await self._reading.storage(work.connector)
            await _read_sidecars(gathered, self._database, storage, work.media.key)
        except Exception as failure:  # noqa: BLE001  # one item must not fail for ever
            await self._retry_or_end(job, work, to_known_error(job, failure))
            return
        for warning in gathered.warnings:
            self._telemetry.emit("facts.unusable", media=work.media.id, reason=warning)
        if "sidecar" not in gathered.found:
            await self._database.write(fact_updates.end, job)
            return
        ended = await self._database.write(fact_updates.finish, job, gathered.found["sidecar"])
        if ended is not None:
            self._telemetry.emit("facts.updated", media=ended.media_id, export=ended.export_id or "")

    async def _retry_or_end(self, job: Job, work: UpdateWork, error: VvwatchError) -> None:
        again = self._reading.again_at(error, work.attempts)
        if again is None:
            await self._database.write(fact_updates.end, job)
            self._telemetry.emit("facts.unusable", media=work.media.id, reason=error.message)
        else:
            await self._database.write(fact_updates.retry, job, again, error.message)
