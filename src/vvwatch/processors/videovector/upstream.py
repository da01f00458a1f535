"""The upstream: a hosted VideoVector or another vvwatch, called by the official SDK.

The SDK's own retries are off, so that the workflow's waiting governs. Importing the SDK takes a third of a second; it
is done on first use, in a thread.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.to_thread

from vvwatch.config import Secret
from vvwatch.errors import ProcessorPaused, ProcessorUnavailable
from vvwatch.ports.processing import Limiter
from vvwatch.processors.videovector.refusals import Failure, unreadable_answer
from vvwatch.processors.videovector.transport import LAST_SEEN, Seen, build_http_client

if TYPE_CHECKING:
    from videovector import AsyncVideoVector
    from videovector._types import (
        ImportJob,
        ImportOutput,
        ImportSourceFile,
        LlmCall,
        Prompt,
        PromptRun,
        PromptRunCostEstimate,
        PromptRunFailedSegmentsManifest,
        PromptRunVideoResult,
        SegmentRunResult,
    )

_ANSWER_BYTES: Final = 32 << 20
_MOST_PAGES: Final = 1000
_PAGE: Final = 100
_PATIENCE_SECONDS: Final = 3600
_TITLE_LETTERS: Final = 255
_ID: Final = re.compile(r"[A-Za-z0-9_.:~-]{1,200}", re.ASCII)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Address:
    """The address of the upstream and its credentials. `key` is its API key."""

    name: str
    base_url: str
    key: Secret
    timeout_seconds: float = 60.0
    stall_seconds: float = 300.0


class Upstream:
    """Calls the upstream; each method is one call, or the pages of one list.

    Failures are raised as our errors: ProcessorUnavailable for temporary ones, ProcessorPaused after pausing the
    processor for all, `Lost` for what the upstream does not know, ProcessorRefused for the rest.
    """

    def __init__(self, address: Address, limiter: Limiter) -> None:
        self._address = address
        self._limiter = limiter
        self._client: AsyncVideoVector | None = None
        self._opening = anyio.Lock()

    @property
    def name(self) -> str:
        """The name of the upstream in errors."""
        return f"the upstream of {self._address.name!r}"

    async def aclose(self) -> None:
        """Close its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def authenticate(self) -> None:
        """Check the key."""
        await self._ask("to look at the key", lambda sdk: sdk.authenticate(), freely=True)

    async def index(self, index_id: str) -> None:
        """Check that the index exists."""
        asked = f"for the index {index_id!r}"
        await self._ask(asked, lambda sdk: sdk.indexes.retrieve(index_id), freely=True)

    async def connector(self, connector_id: str) -> None:
        """Check that the connector exists."""
        asked = f"for the connector {connector_id!r}"
        await self._ask(asked, lambda sdk: sdk.connectors.retrieve(connector_id), freely=True)

    async def import_object(
        self, connector_id: str, index_id: str, key: str, pattern: str, idempotency_key: str
    ) -> ImportJob:
        """Let the upstream import the object at `key` itself, even if it has imported it before."""
        body = {
            "connector_id": connector_id,
            "index_id": index_id,
            "source_prefix": key,
            "file_pattern": pattern,
            "recursive": True,
            "import_mode_override": "all",  # which the SDK's own method does not know
        }

        async def post_job(sdk: AsyncVideoVector) -> ImportJob:
            from videovector import ImportJob  # noqa: PLC0415

            response = await sdk._http.post("/import-jobs", json=body, idempotency_key=idempotency_key)  # noqa: SLF001
            return ImportJob.model_validate(response)

        return await self._ask("to import an object", post_job)

    async def upload(self, file: IO[bytes], title: str, index_id: str, idempotency_key: str) -> ImportJob:
        """Send a file of any size; `file.name` becomes its name there."""
        return await self._ask(
            "to accept an upload",
            lambda sdk: sdk.workflow.upload(
                file,  # type: ignore[arg-type]  # it reads, seeks and has a name
                title=title[:_TITLE_LETTERS],
                index_id=index_id,
                idempotency_key=idempotency_key,
            ),
            seconds=None,
        )

    async def import_job(self, job_id: str) -> ImportJob:
        """Return the current state of an import job."""
        return await self._ask(f"for the import job {job_id!r}", lambda sdk: sdk.import_jobs.retrieve(job_id))

    async def outputs(self, job_id: str) -> list[ImportOutput]:
        """Return all media that an import job made."""
        asked = f"for the outputs of the import job {job_id!r}"

        async def page(cursor: str | None) -> tuple[Sequence[ImportOutput], str | None]:
            found = await self._ask(asked, lambda sdk: sdk.import_jobs.outputs(job_id, cursor=cursor))
            return found.items, found.next_cursor

        return [output async for output in self._pages(asked, page)]

    async def files(self, job_id: str) -> Sequence[ImportSourceFile]:
        """Return the first files of an import job, and what became of them."""
        asked = f"for the files of the import job {job_id!r}"
        return (await self._ask(asked, lambda sdk: sdk.import_jobs.files(job_id))).items

    async def prompts(self) -> Sequence[Prompt]:
        """Return all prompts."""
        return (await self._ask("for its prompts", lambda sdk: sdk.prompts.list())).prompts

    async def create_prompt(self, fields: Mapping[str, Any], idempotency_key: str) -> str:
        """Create a prompt and return its id."""
        made = await self._ask(
            "to make a prompt",
            lambda sdk: sdk.prompts.create(**fields, idempotency_key=idempotency_key),
        )
        return self.checked_id(made.prompt_id, "to make a prompt")

    async def estimate(self, request: Mapping[str, Any]) -> PromptRunCostEstimate:
        """Return the estimated cost of a run."""
        return await self._ask("for an estimate", lambda sdk: sdk.prompt_runs.estimate(**request))

    async def execute(self, request: Mapping[str, Any], idempotency_key: str) -> str:
        """Start a run and return its id."""
        asked = "to begin a run"
        run = await self._ask(
            asked, lambda sdk: sdk.prompt_runs.execute(**request, idempotency_key=idempotency_key)
        )
        return self.checked_id(run.run_id, asked)

    async def run(self, run_id: str) -> PromptRun:
        """Return the current state of a run."""
        return await self._ask(f"for the run {run_id!r}", lambda sdk: sdk.prompt_runs.retrieve(run_id))

    async def runs_of(self, media_id: str) -> Sequence[PromptRun]:
        """Return the runs over a media item."""
        asked = f"for the runs of {media_id!r}"
        return await self._ask(asked, lambda sdk: sdk.videos.list_prompt_runs(media_id))

    async def cancel(self, run_id: str, idempotency_key: str) -> None:
        """Cancel a run, even while the processor is paused."""
        await self._ask(
            f"to cancel the run {run_id!r}",
            lambda sdk: sdk.prompt_runs.cancel(run_id, idempotency_key=idempotency_key),
            freely=True,
        )

    async def results(self, run_id: str, media_id: str) -> list[SegmentRunResult]:
        """Return a run's results for each segment of a media item."""
        asked = f"for the results of the run {run_id!r}"

        async def page(cursor: str | None) -> tuple[Sequence[SegmentRunResult], str | None]:
            found = await self._ask(
                asked,
                lambda sdk: sdk.prompt_runs.list_results(
                    run_id, video_id=media_id, limit=_PAGE, cursor=cursor
                ),
            )
            return found.data, found.next_cursor if found.has_more else None

        return [result async for result in self._pages(asked, page)]

    async def whole(self, run_id: str, media_id: str) -> PromptRunVideoResult:
        """Return a run's result for a media item as a whole."""
        return await self._ask(
            f"for what the run {run_id!r} found of the whole",
            lambda sdk: sdk.prompt_runs.get_video_result(run_id, media_id),
        )

    async def failures(self, run_id: str) -> PromptRunFailedSegmentsManifest:
        """Return the failures of a run."""
        asked = f"for what failed in the run {run_id!r}"
        return await self._ask(asked, lambda sdk: sdk.prompt_runs.get_failed_segments(run_id))

    async def retry(self, run_id: str, media_id: str, segment_id: str, idempotency_key: str) -> str:
        """Retry a failed segment, and return the id of the retry."""
        asked = f"to retry the segment {segment_id!r}"
        begun = await self._ask(
            asked,
            lambda sdk: sdk.prompt_runs.retry_segment(
                run_id, media_id, segment_id, idempotency_key=idempotency_key
            ),
        )
        return self.checked_id(begun.retry_id, asked)

    async def retry_standing(
        self, run_id: str, media_id: str, segment_id: str, retry_id: str
    ) -> tuple[str, str | None, float]:
        """Return a retry's status, its error, and its cost in the upstream's units."""
        response = await self._ask(
            f"for the retry {retry_id!r}",
            lambda sdk: sdk.prompt_runs.get_segment_retry_status(run_id, media_id, segment_id, retry_id),
        )
        return response.status, response.error, response.billing_actual_mt

    async def llm_calls(self, run_id: str) -> Sequence[LlmCall]:
        """Return the model calls that a run made."""
        asked = f"for the model's calls of the run {run_id!r}"
        return await self._ask(asked, lambda sdk: sdk.prompt_runs.get_llm_calls(run_id))

    def checked_id(self, identity: str, asked: str) -> str:
        """Return `identity`, which becomes part of a URL. Raises ProcessorRefused for an invalid id."""
        if _ID.fullmatch(identity) is None or identity in {".", ".."}:
            raise unreadable_answer(self.name, asked, f"the id {identity[:100]!r}")
        return identity

    async def _pages(
        self, asked: str, page: Callable[[str | None], Awaitable[tuple[Sequence[_Value], str | None]]]
    ) -> AsyncIterator[_Value]:
        cursor, met = None, set[str | None]()
        while cursor not in met and len(met) < _MOST_PAGES:
            met.add(cursor)
            values, cursor = await page(cursor)
            for value in values:
                yield value
            if not cursor:
                return
        raise unreadable_answer(self.name, asked, "pages without an end")

    async def _ask(
        self,
        asked: str,
        call: Callable[[AsyncVideoVector], Awaitable[_Value]],
        *,
        seconds: float | None = 0.0,
        freely: bool = False,
    ) -> _Value:
        """Return the result of `call`; `seconds` 0 is the usual time-out.

        Waits for a turn, except with `freely`: then it calls even while the processor is paused, and pauses nothing.
        """
        sdk = await self._open_once()
        seen = Seen()
        remembered = LAST_SEEN.set(seen)
        try:
            async with nullcontext() if freely else self._limiter.slot():
                with anyio.fail_after(self._address.timeout_seconds if seconds == 0 else seconds):
                    return await call(sdk)
        except TimeoutError:
            limit = f"{self._address.timeout_seconds:g} s"
            raise ProcessorUnavailable(
                f"{self.name} does not answer the request {asked} within {limit}"
            ) from None
        except Exception as error:
            if not _is_sdk_error(error):
                raise
            judged = self._to_error(asked, seen, error)
            if not freely:
                await self._tell(judged)
            raise judged from None
        finally:
            LAST_SEEN.reset(remembered)

    async def _tell(self, judged: Exception) -> None:
        """Report to the limiter what concerns all calls."""
        if isinstance(judged, ProcessorPaused):
            await self._limiter.pause(judged)
        elif isinstance(judged, ProcessorUnavailable) and judged.retry_after_seconds:
            self._limiter.hold_back(judged.retry_after_seconds)

    def _to_error(self, asked: str, seen: Seen, error: Exception) -> Exception:
        """Return the SDK's exception as one of our errors."""
        from pydantic import ValidationError  # noqa: PLC0415

        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(map(str, first["loc"])) or "all of it"
            return unreadable_answer(self.name, asked, f"{place}: {first['msg']}")
        if not _is_api_error(error):
            return unreadable_answer(self.name, asked, f"{type(error).__name__}: {error}")
        return self._failure(asked, seen, error).to_error()

    def _failure(self, asked: str, seen: Seen, error: Exception) -> Failure:
        message = str(getattr(error, "message", error)).replace(self._address.key.reveal(), "[key]")
        code = getattr(error, "error_code", None)
        asked_for = getattr(error, "retry_after", None)  # the SDK also reads dates, but for 429 alone
        wait = asked_for if isinstance(asked_for, int) else _parse_retry_after(seen.retry_after)
        return Failure(self.name, asked, seen, message, code if isinstance(code, str) else "", wait)

    async def _open_once(self) -> AsyncVideoVector:
        async with self._opening:
            if self._client is None:
                self._client = await anyio.to_thread.run_sync(self._open)
            return self._client

    def _open(self) -> AsyncVideoVector:
        from videovector import AsyncVideoVector  # noqa: PLC0415

        address = self._address
        client = AsyncVideoVector(
            address.key.reveal(),
            auth_mode="api_key",
            base_url=address.base_url,
            timeout=address.stall_seconds,
            max_retries=0,
            max_retry_delay=_PATIENCE_SECONDS,
        )
        http = client._http  # noqa: SLF001
        http._client = build_http_client(  # noqa: SLF001
            address.base_url,
            http._default_headers(),  # noqa: SLF001
            stall_seconds=address.stall_seconds,
            answer_bytes=_ANSWER_BYTES,
        )
        return client


def _is_api_error(error: Exception) -> bool:
    from videovector import VideoVectorError  # noqa: PLC0415

    return isinstance(error, VideoVectorError)


def _is_sdk_error(error: Exception) -> bool:
    """Return whether the SDK raised it: its own error, or one from parsing an unexpected answer."""
    return isinstance(error, ValueError | TypeError | AttributeError | KeyError) or _is_api_error(error)


def _parse_retry_after(retry_after: str) -> float | None:
    """Return the seconds of a Retry-After; None if it is missing or a date."""
    text = retry_after.strip()
    return min(float(text), float(_PATIENCE_SECONDS)) if text.isdecimal() and text.isascii() else None
