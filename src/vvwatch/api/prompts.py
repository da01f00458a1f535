"""Prompts: what is asked of each media item, and in which form it is answered."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Query
from pydantic import Field

from vvwatch.api.auth import resource_router
from vvwatch.api.context import Context
from vvwatch.api.wire import USER_ID, Body, Document, Resource, Visible, moment
from vvwatch.store import catalog
from vvwatch.store.catalog import PromptSpec
from vvwatch.store.database import Tx

router = resource_router("prompts")

Fields = Annotated[list[str], Field(max_length=1000)]


class VideoLevelBody(Body):
    """What is asked about a whole item, from what was found in its segments."""

    instructions_text: Annotated[str, Field(min_length=1, max_length=12_000)]
    json_schema: Document
    included_segment_fields: Fields | None = None


class SemanticIndexingBody(Body):
    """Fields that are left out of semantic search."""

    disabled_segment_fields: Fields = Field(default_factory=list)
    disabled_video_level_fields: Fields = Field(default_factory=list)


class PromptBody(Body):
    """A new prompt."""

    name: Annotated[str, Field(min_length=3, max_length=100), Visible]
    description: Annotated[str, Field(max_length=500)] = ""
    prompt_text: Annotated[str, Field(min_length=10, max_length=5000)]
    json_schema: Document
    video_level: VideoLevelBody | None = None
    semantic_indexing: SemanticIndexingBody | None = None


class Prompt(Resource):
    """A prompt."""

    prompt_id: str
    user_id: str
    name: str
    description: str
    prompt_text: str
    json_schema: dict[str, Any]
    video_level: dict[str, Any] | None
    semantic_indexing: dict[str, Any]
    prompt_version: int
    is_active: bool
    is_default: bool
    declared: bool
    created_at: str | None
    updated_at: str | None


class Prompts(Resource):
    """All prompts."""

    prompts: list[Prompt]
    total_count: int
    active_count: int


def shown(row: sa.Row[Any]) -> Prompt:
    """The prompt as it is answered."""
    return Prompt(
        prompt_id=row.id,
        user_id=USER_ID,
        name=row.name,
        description=row.description,
        prompt_text=row.prompt_text,
        json_schema=row.json_schema,
        video_level=row.video_level,
        semantic_indexing=row.semantic_indexing or SemanticIndexingBody().model_dump(),
        prompt_version=row.prompt_version,
        is_active=row.is_active,
        is_default=row.is_default,
        declared=row.declared,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
    )


@router.post("/prompts", status_code=201)
async def create_prompt(context: Context, body: PromptBody) -> Prompt:
    """Make a prompt. Its schema describes an object, refers only to itself and is of bounded size."""
    spec = PromptSpec(**body.model_dump(exclude_none=True))
    return shown(await context.database.write(catalog.create_prompt, spec))


@router.get("/prompts")
async def list_prompts(
    context: Context,
    active_only: Annotated[bool, Query()] = True,
    include_defaults: Annotated[bool, Query()] = True,
) -> Prompts:
    """Prompts, oldest first, with how many there are at all."""
    found, everything = await context.database.read(_lists, active_only, include_defaults)
    return Prompts(
        prompts=[shown(row) for row in found],
        total_count=len(everything),
        active_count=sum(row.is_active for row in everything),
    )


def _lists(tx: Tx, active_only: bool, include_defaults: bool) -> tuple[list[Any], list[Any]]:
    found = catalog.list_prompts(tx, active_only=active_only, include_defaults=include_defaults)
    everything = catalog.list_prompts(tx, active_only=False, include_defaults=include_defaults)
    return list(found), list(everything)


@router.get("/prompts/{prompt_id}")
async def get_prompt(context: Context, prompt_id: str) -> Prompt:
    """One prompt."""
    return shown(await context.database.read(catalog.get_prompt, prompt_id))
