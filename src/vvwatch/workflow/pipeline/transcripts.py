"""What is said in an item: the first source that has a transcript wins, and the item keeps it.

The sources are tried in the order of `TranscriptSource`. Where none has one, the reason names each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

import anyio.to_thread

from vvwatch.core.transcripts import Transcript, TranscriptSource
from vvwatch.errors import MediaError
from vvwatch.ports import Storage
from vvwatch.ports.processing import CaptionReader, Item
from vvwatch.store.db.database import Database
from vvwatch.store.runs import transcripts
from vvwatch.store.runs.journal import Owner
from vvwatch.workflow.pipeline.writes import write_until_committed

_LONGEST_REASON: Final = 300
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
