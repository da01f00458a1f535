"""Run a prompt in one request: over a running import, media, an index or the playground."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Request, Response
from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from vvwatch.api.compat.unavailable import model_required
from vvwatch.api.http.auth import PREFIX, require, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.idempotency import Idempotent
from vvwatch.api.http.wire import Resource
from vvwatch.api.routes import prompts
from vvwatch.api.routes.prompt_runs import PromptRun
from vvwatch.api.routes.prompts import Prompt
from vvwatch.api.routes.run_options import Id, PromptId, RunOptions, SegmentSeconds
from vvwatch.api.routes.run_requests import VideoIds, report_requested, start_run
from vvwatch.core.keys import Scope
from vvwatch.core.media import FIXED_SECONDS
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.runs import target_queries
from vvwatch.store.runs.target_queries import Target

router = resource_router("workflow")

_INDEX_OR_VIDEOS: Final = ("video_ids", "index_id", "index_name")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class ProcessBody(RunOptions):
    """A prompt and its target; without a target it runs over the playground.

    `segmentation_mode` applies to video and audio; `advanced_transcription` and `create_image_embeddings` are aliases
    of `enable_transcription` and `enable_image_embedding`.
    """

    prompt_id: PromptId | None = None
    prompt_instruction: Annotated[str, Field(max_length=12_000)] | None = None
    import_job_id: Annotated[Id | None, Field(description="the run starts when this import ends")] = None
    video_ids: Annotated[VideoIds | None, BeforeValidator(_as_list)] = None
    index_id: Id | None = None
    index_name: Id | None = None
    segmentation_mode: Literal["content_aware", "fixed"] | None = None
    fixed_segment_duration_seconds: SegmentSeconds | None = None
    advanced_transcription: bool | None = None
    create_image_embeddings: bool | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> ProcessBody:
        if (self.prompt_id is None) == (self.prompt_instruction is None):
            raise PydanticCustomError("prompt", "give either prompt_id or prompt_instruction")
        if self.import_job_id is not None and any(
            getattr(self, name) is not None for name in _INDEX_OR_VIDEOS
        ):
            raise PydanticCustomError("target", "import_job_id excludes other targets")
        if self.index_id is not None and self.index_name is not None:
            raise PydanticCustomError("target", "give either index_id or index_name")
        if self.segmentation_mode != "fixed" and self.fixed_segment_duration_seconds is not None:
            text = "fixed_segment_duration_seconds needs segmentation_mode fixed"
            raise PydanticCustomError("stray_duration", text)
        return self

    def options(self) -> RunOptions:
        """Return the options that were sent, under their usual names."""
        sent = self.model_dump(include=set(RunOptions.model_fields), exclude_unset=True)
        if self.segmentation_mode is not None:
            seconds = self.fixed_segment_duration_seconds
            seconds = FIXED_SECONDS if self.segmentation_mode == "fixed" and seconds is None else seconds
            for kind in ("video", "audio"):
                sent |= {
                    f"{kind}_segmentation_type": self.segmentation_mode,
                    f"{kind}_segment_duration": seconds,
                }
        others = {
            "enable_transcription": self.advanced_transcription,
            "enable_image_embedding": self.create_image_embeddings,
        }
        return RunOptions(**sent | {name: value for name, value in others.items() if value is not None})


class Processing(Resource):
    """A run that has started or waits for its import, and where to follow it."""

    run_id: str
    prompt: Prompt
    run: PromptRun
    status_url: str
    results_url: str
    prompt_created_inline: bool = False


@router.post("/workflow/process", status_code=202, response_model=Processing, **require(Scope.WRITE))
async def process_media(context: Context, once: Idempotent, request: Request, body: ProcessBody) -> Response:
    """Run a prompt over media. With the id of a running import, the run waits until it ends."""
    if body.prompt_id is None:
        raise model_required(
            "writing a prompt", "create one with POST /api/v2/prompts and send its prompt_id"
        )
    prompt_id, by = body.prompt_id, request.state.key_id
    return await once(
        lambda tx: _start_run(tx, context, prompt_id, body, by),
        lambda made: report_requested(context, made.run_id, prompt_id, by),
    )


def _start_run(tx: Tx, context: ApiContext, prompt_id: str, body: ProcessBody, by: str) -> Processing:
    further: dict[str, Any] = {"executed_by": by}
    if body.import_job_id is None:
        target = _find_target(tx, body)
    else:
        target, further["import_job_id"] = target_queries.resolve_import(tx, body.import_job_id)
    run = start_run(tx, context, prompt_id, body.options(), target, **further)
    return Processing(
        run_id=run.run_id,
        prompt=prompts.to_response(catalog.get_prompt(tx, prompt_id)),
        run=run,
        status_url=f"{PREFIX}/prompt-runs/{run.run_id}",
        results_url=f"{PREFIX}/workflow/runs/{run.run_id}/results",
    )


def _find_target(tx: Tx, body: ProcessBody) -> Target:
    """Return the media to process. Raises NotFound, or InvalidInput if there are none."""
    index_id = body.index_id if body.index_name is None else target_queries.find_index_id(tx, body.index_name)
    if body.video_ids is not None:
        return target_queries.resolve_videos(tx, body.video_ids, index_id)
    return (
        target_queries.resolve_playground(tx)
        if index_id is None
        else target_queries.resolve_index(tx, index_id)
    )
