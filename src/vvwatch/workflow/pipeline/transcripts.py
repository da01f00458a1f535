"""What is said in an item: the first source that has a transcript wins, and the item keeps it.

The sources are tried in the order of `TranscriptSource`. Where none has one, the reason names each.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

import anyio.to_thread

from vvwatch.core.objects import base_name
from vvwatch.core.outputs import Output
from vvwatch.core.sidecars import MOST_BYTES, SUFFIXES, NoCaptions, SidecarName, match_name, read_sidecar
from vvwatch.core.transcripts import Transcript, TranscriptSource
from vvwatch.errors import (
    AccessDenied,
    MediaError,
    ObjectArchived,
    ObjectChanged,
    ObjectNotFound,
    StorageError,
    StorageUnavailable,
)
from vvwatch.ports import Storage
from vvwatch.ports.processing import CaptionReader, Examinable, Item
from vvwatch.store.db.database import Database
from vvwatch.store.runs import transcripts
from vvwatch.store.runs.journal import Owner
from vvwatch.store.watching import own_files, sidecars
from vvwatch.workflow.listings import closing
from vvwatch.workflow.pipeline.writes import write_until_committed

_LONGEST_REASON: Final = 300
_MOST_SIDECARS: Final = 8
_NO_MODEL: Final = "nothing transcribes speech: [transcription] has neither an endpoint nor a speech model"


class Source(Protocol):
    """One place where a transcript may come from."""

    name: TranscriptSource

    async def find(self, item: Item, storage: Storage) -> Transcript | str:
        """Return the transcript, or why there is none.

        Raises MediaError if the media cannot be read, and the errors of what is away for now: the item waits.
        """
        ...


@dataclass(frozen=True)
class EmbeddedCaptions:
    """Implements `Source`: the captions in the file itself."""

    reader: CaptionReader
    name = TranscriptSource.EMBEDDED

    async def find(self, item: Item, storage: Storage) -> Transcript | str:  # noqa: ARG002
        """Return what the captions say; a file whose probe counts no track is not opened."""
        if item.probe.get("caption_tracks") == 0:
            return "no caption track"
        async with item.open() as fd:
            return await self.reader.captions(fd, item.duration_seconds)


@dataclass(frozen=True)
class SidecarCaptions:
    """Implements `Source`: a file beside the media, of the same name.

    Those that watchers have seen are known. Where nobody watches, a store that lists by the start of a name is asked
    for one page, another for the usual names.
    """

    database: Database
    name = TranscriptSource.SIDECAR

    async def find(self, item: Item, storage: Storage) -> Transcript | str:
        """Return what the best sidecar says that can be read. What we wrote, and nobody changed, is none."""
        reasons: list[str] = []
        seen = await self.database.read(sidecars.list_sidecars, item.connector_id, item.key)
        found = await self._read_best(item, storage, seen, reasons)
        if found is None and not reasons:
            others = await self._look_for_names(item.key, storage)
            found = await self._read_best(item, storage, others, reasons)
        return found or "; ".join(reasons) or "no captions beside it"

    async def _read_best(
        self, item: Item, storage: Storage, names: Sequence[SidecarName], reasons: list[str]
    ) -> Transcript | None:
        """Return what the first of the files says that says something; add to `reasons` why the others do not."""
        uris = [storage.uri(each.key) for each in names]
        own = await self.database.read(own_files.find_outputs, uris)
        for name, uri in zip(names, uris, strict=True):
            if len(reasons) == _MOST_SIDECARS:
                break
            try:
                said = await self._read(item, storage, name, own.get(uri))
            except (ObjectNotFound, ObjectChanged, ObjectArchived, AccessDenied) as error:
                reasons.append(f"{base_name(name.key)}: {error.message}")
            except ValueError as error:
                reasons.append(str(error))
            else:
                if said is not None:
                    return said
        return None

    async def _read(
        self, item: Item, storage: Storage, name: SidecarName, own: Output | None
    ) -> Transcript | None:
        """Return what the file says; None if it is what an export wrote there."""
        if own is not None and not own.written:
            return None
        there = await storage.stat(name.key)
        if there.size_bytes > MOST_BYTES:
            if own is not None and own.may_have(there.size_bytes):
                return None
            size = f"has {there.size_bytes:,} bytes, and captions have {MOST_BYTES:,} at most"
            raise NoCaptions(f"{base_name(name.key)} {size}")
        data = bytearray()
        async with storage.stream(name.key, there.version, 0, MOST_BYTES) as pieces:
            async for piece in pieces:
                data += piece
        if own is not None and own.has(len(data), hashlib.sha256(data).hexdigest()):
            return None
        return await anyio.to_thread.run_sync(read_sidecar, name, bytes(data), item.duration_seconds)

    async def _look_for_names(self, key: str, storage: Storage) -> list[SidecarName]:
        stem = key.rpartition(".")[0]
        if storage.capabilities.start_after:
            async with closing(storage.list(f"{stem}.", recursive=False)) as pages:
                page = await anext(pages, None)
            found = [obj.key for obj in page.objects] if page else []
        else:
            usual = [f"{start}.{suffix}" for start in (stem, key) for suffix in SUFFIXES]
            found = [name for name in usual if await _is_there(storage, name)]
        return sorted(filter(None, (match_name(key, name) for name in found)))


async def _is_there(storage: Storage, key: str) -> bool:
    try:
        await storage.stat(key)
    except StorageUnavailable:
        raise
    except StorageError:
        return False
    return True


class Transcriber:
    """Finds the transcript of an item before it is processed, and stores it under the item's fence."""

    def __init__(self, database: Database, sources: Sequence[Source] = ()) -> None:
        self._database = database
        self._sources = sources

    async def transcribe(self, owner: Owner, item: Item, storage: Storage) -> Transcript | None:
        """Return the item's transcript, stored or found now; None if no source has one.

        What was found stays found. A retry looks again only where there was nothing. Raises what the sources raise,
        but for MediaError, which is a reason like others, and Superseded.
        """
        row = await self._database.read(transcripts.load_transcript, owner.item_id)
        if row is not None and (row.error is None or not owner.generation):
            return await anyio.to_thread.run_sync(transcripts.read_transcript, row)
        found, error = await self._find(item, storage)
        clock = self._database.clock
        await write_until_committed(self._database, clock, transcripts.keep_transcript, owner, found, error)
        return found

    @property
    def dependencies(self) -> Mapping[str, Examinable]:
        """The sources that can check themselves, by their names in the configuration."""
        return {f"transcription.{each.name}": each for each in self._sources if isinstance(each, Examinable)}

    async def find_sidecar(self, item: Item, storage: Storage) -> Transcript | str:
        """Return what the captions beside the media say now, or why there is none. Raises as `Source.find`."""
        for source in self._sources:
            if source.name is TranscriptSource.SIDECAR:
                said = await source.find(item, storage)
                return said if isinstance(said, Transcript) else said[:_LONGEST_REASON]
        return "nobody looks for captions"

    async def _find(self, item: Item, storage: Storage) -> tuple[Transcript | None, str | None]:
        """Return the transcript of the first source that has one, or the reasons of all."""
        reasons = []
        for source in self._sources:
            try:
                said = await source.find(item, storage)
            except MediaError as error:
                said = error.message
            if isinstance(said, Transcript):
                return said, None
            reasons.append(f"{source.name}: {said[:_LONGEST_REASON]}")
        if not any(
            source.name in {TranscriptSource.ENDPOINT, TranscriptSource.SPEECH} for source in self._sources
        ):
            reasons.append(_NO_MODEL)
        return None, "; ".join(reasons)


Opening = Callable[[], AbstractAsyncContextManager[int]]


class SharedOpening:
    """Opens an item's media once for the transcript and the processor: a remote object is downloaded once.

    What `lend` opens stays open until the next `open` has used it, or the end of the block.
    """

    def __init__(self, opened: Opening) -> None:
        self._opened = opened
        self._kept: tuple[AsyncExitStack, int] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._kept is not None:
            await self._kept[0].__aexit__(kind, failure, trace)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[int]:
        """Yield the descriptor, and keep it open afterwards."""
        if self._kept is None:
            stack = AsyncExitStack()
            self._kept = stack, await stack.enter_async_context(self._opened())
        yield self._kept[1]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        """Yield the descriptor that was lent before, or another one; close it afterwards."""
        kept, self._kept = self._kept, None
        if kept is None:
            async with self._opened() as descriptor:
                yield descriptor
        else:
            async with kept[0]:
                yield kept[1]
