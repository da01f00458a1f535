"""Process a media item, or get a link to its original."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query, Request, Response
from pydantic import Field

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.idempotency import Idempotent
from vvwatch.api.http.wire import Body, Resource
from vvwatch.api.routes.media_grants import create_grant
from vvwatch.api.routes.run_options import PromptId, RunOptions
from vvwatch.api.routes.run_requests import report_requested, start_run
from vvwatch.core.keys import Scope
from vvwatch.errors import NotFound
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import media_queries
from vvwatch.store.runs import target_queries

router = resource_router("videos")

_SECONDS: Final = Query(ge=1, le=300, description="the length of its segments")
_PROMPT: Final = Query(min_length=1, max_length=200, description="default: the built-in technical prompt")


class ProcessingStarted(Resource):
    """The run that has started."""

    message: str
    video_id: str
    run_id: str


class SignedUrlBody(Body):
    """The `video_uri` of a media item in any store. There is no refreshing: each response is new."""

    gcs_uri: Annotated[str, Field(min_length=1, max_length=8192)]
    force_refresh: bool = False


class SignedUrl(Resource):
    """A URL that needs no key until `expires_at`."""

    signed_url: str
    expires_at: str


@router.post(
    "/videos/{video_id}/process",
    status_code=202,
    response_model=ProcessingStarted,
    **require(Scope.WRITE, errors=("model_not_configured",)),
)
async def process_video(
    context: Context,
    once: Idempotent,
    request: Request,
    video_id: str,
    segment_duration: Annotated[int, _SECONDS] = 10,
    prompt_id: Annotated[PromptId | None, _PROMPT] = None,
) -> Response:
    """Run a prompt over one media item, with segments of a fixed length."""
    by, prompt = request.state.key_id, prompt_id or catalog.DEFAULT_PROMPT_ID
    return await once(
        lambda tx: _start_run(tx, context, video_id, prompt, segment_duration, by),
        lambda made: report_requested(context, made.run_id, prompt, by),
    )


def _start_run(
    tx: Tx, context: ApiContext, video_id: str, prompt_id: str, seconds: int, by: str
) -> ProcessingStarted:
    options = RunOptions(
        video_segmentation_type="fixed",
        video_segment_duration=seconds,
        audio_segmentation_type="fixed",
        audio_segment_duration=seconds,
    )
    target = target_queries.resolve_videos(tx, [video_id])
    run = start_run(tx, context, prompt_id, options, target, executed_by=by)
    message = f"processing has started: prompt run {run.run_id}"
    return ProcessingStarted(message=message, video_id=video_id, run_id=run.run_id)


@router.post("/videos/signed-url", **require(Scope.READ, errors=("resource_video_not_found",)))
async def get_signed_url(context: Context, request: Request, body: SignedUrlBody) -> SignedUrl:
    """Return a URL of this server that downloads the original without a key for an hour."""
    row = await context.database.read(media_queries.find_by_uri, body.gcs_uri)
    if row is None:
        raise NotFound("video", body.gcs_uri, "give the video_uri of a media item")
    made = create_grant(request, row)
    return SignedUrl(signed_url=made.url, expires_at=made.expires_at)
