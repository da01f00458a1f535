"""Prompts: what to ask of each media item, and the form of the answer."""

from __future__ import annotations

from typing import Annotated, Any, Final

import anyio.to_thread
from fastapi import Query, Response
from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from vvwatch.api.http.auditing import Audited
from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.idempotency import Idempotent
from vvwatch.api.http.schema_trials import SchemaChecks
from vvwatch.api.http.wire import USER_ID, Body, Document, Resource, Visible, to_iso
from vvwatch.api.routes.run_options import RunOptions
from vvwatch.core.json_schemas import check_json_schema
from vvwatch.core.keys import Scope
from vvwatch.store.catalog import catalog, prompts
from vvwatch.store.catalog.catalog import PromptSpec
from vvwatch.store.db.database import Tx
from vvwatch.store.models.catalog import Prompt as PromptRow

router = resource_router("prompts")

_schema_checks: Final = SchemaChecks()

Fields = Annotated[list[str], Field(max_length=1000)]


def _reject_filter(value: Any) -> None:
    if value is not None:
        text = "selection filters need a model, and there is none here: omit it or send null"
        raise PydanticCustomError("selection_filter", text)


NoFilter = Annotated[
    None, BeforeValidator(_reject_filter), Field(description="not supported: no model selects media")
]


class VideoLevelBody(Body):
    """What to ask about a whole item, based on its segments' results."""

    instructions_text: Annotated[str, Field(min_length=1, max_length=12_000)]
    json_schema: Document
    included_segment_fields: Fields | None = None


class SemanticIndexingBody(Body):
    """Fields that semantic search excludes."""

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
    execution_config: RunOptions | None = None
    selection_filter: NoFilter = None


class PromptChanges(Body):
    """Changes to a prompt; missing or null fields keep their values. An empty description counts as one."""

    name: Annotated[str, Field(min_length=3, max_length=100), Visible] | None = None
    description: Annotated[str | None, Field(max_length=500)] = None
    prompt_text: Annotated[str | None, Field(min_length=10, max_length=5000)] = None
    json_schema: Document | None = None
    video_level: VideoLevelBody | None = None
    semantic_indexing: SemanticIndexingBody | None = None
    execution_config: RunOptions | None = None
    selection_filter: NoFilter = None
    clear_video_level: Annotated[bool, Field(description="remove `video_level`")] = False
    clear_selection_filter: Annotated[bool, Field(description="no effect: there are no filters here")] = False

    @model_validator(mode="after")
    def _one_wish(self) -> PromptChanges:
        if self.clear_video_level and self.video_level is not None:
            raise PydanticCustomError("video_level", "give video_level or clear_video_level, not both")
        return self

    def columns(self) -> dict[str, Any]:
        """Return the values to set."""
        values = self.model_dump(exclude_none=True, exclude={"clear_video_level", "clear_selection_filter"})
        return values | ({"video_level": None} if self.clear_video_level else {})


class SchemaTrial(Body):
    """A schema, and sample data for it."""

    json_schema: Document
    sample_data: Document


class SchemaVerdict(Resource):
    """Whether the data matches the schema; if not, `error` says why."""

    valid: bool
    validated_data: dict[str, Any] | None
    error: str | None
    message: str


class PromptUsage(Resource):
    """Whether automations or running import jobs use the prompt; `used_by` names some of them."""

    prompt_id: str
    name: str
    is_active: bool
    is_in_use: bool
    used_by: list[str]
    created_at: str | None
    schema_properties_count: int


class Message(Resource):
    """What was done."""

    message: str


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
    execution_config: dict[str, Any] | None
    selection_filter: None = None
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


def to_response(row: PromptRow) -> Prompt:
    """Return the prompt as a response."""
    indexing = row.semantic_indexing or SemanticIndexingBody().model_dump()
    return Prompt.of(row, prompt_id=row.id, user_id=USER_ID, semantic_indexing=indexing)


@router.post("/prompts", status_code=201, response_model=Prompt, **require(Scope.WRITE))
async def create_prompt(context: Context, once: Idempotent, body: PromptBody) -> Response:
    """Create a prompt. Its schema must describe an object, refer only to itself and have a bounded size."""
    _check_model(context, body)
    await _check_schemas(body)
    spec = PromptSpec(**body.model_dump(exclude_none=True))
    return await once(lambda tx: to_response(catalog.create_prompt(tx, spec)))


def _check_model(context: ApiContext, body: PromptBody | PromptChanges) -> None:
    """Raise ModelNotConfigured for a `processing_model` that no processor matches."""
    if body.execution_config is not None and body.execution_config.processing_model:
        context.database.processors.choose(body.execution_config.processing_model)


async def _check_schemas(body: PromptBody | PromptChanges) -> None:
    """Raise InvalidInput for an unusable schema; checks in a thread, which may take a while."""
    for asked in (body, body.video_level):
        if asked is not None and asked.json_schema is not None:
            await anyio.to_thread.run_sync(check_json_schema, asked.json_schema)


@router.get("/prompts", **require(Scope.READ))
async def list_prompts(
    context: Context,
    active_only: Annotated[bool, Query()] = True,
    include_defaults: Annotated[bool, Query()] = True,
) -> Prompts:
    """List prompts, oldest first, with their total."""
    everything = await context.database.read(catalog.list_prompts, include_defaults=include_defaults)
    return Prompts(
        prompts=[to_response(row) for row in everything if row.is_active or not active_only],
        total_count=len(everything),
        active_count=sum(row.is_active for row in everything),
    )


@router.get("/prompts/{prompt_id}", **require(Scope.READ))
async def get_prompt(context: Context, prompt_id: str) -> Prompt:
    """Return a prompt."""
    return to_response(await context.database.read(catalog.get_prompt, prompt_id))


@router.put("/prompts/{prompt_id}", response_model=Prompt, **require(Scope.WRITE))
async def change_prompt(context: Context, once: Idempotent, prompt_id: str, body: PromptChanges) -> Response:
    """Change a prompt and create a new version; earlier runs keep theirs.

    Automations use the new version from their next import on, and keep their own settings.
    """
    _check_model(context, body)
    await _check_schemas(body)
    changes = body.columns()
    return await once.changing(changes)(lambda tx: to_response(prompts.change(tx, prompt_id, changes)))


@router.delete("/prompts/{prompt_id}", **require(Scope.ADMIN))
async def delete_prompt(
    audited: Audited,
    prompt_id: str,
    force: Annotated[bool, Query(description="even if it is used; it is then only deactivated")] = False,
) -> Message:
    """Delete a prompt. Runs keep their copy; what uses the prompt continues with it, and nothing else can."""
    users = await audited.write(lambda tx: prompts.delete(tx, prompt_id, force=force))
    if users:
        return Message(message=f"prompt {prompt_id} is deactivated; it is still used by {', '.join(users)}")
    return Message(message=f"prompt {prompt_id} is deleted")


@router.post("/prompts/test-schema", **require(Scope.WRITE))
async def test_schema(body: SchemaTrial) -> SchemaVerdict:
    """Check a schema against sample data. An unusable schema is a result, not an error; nothing is fetched."""
    error = await _schema_checks.misfit(body.json_schema, body.sample_data)
    if error is not None:
        return SchemaVerdict(valid=False, validated_data=None, error=error, message="the data does not fit")
    return SchemaVerdict(
        valid=True, validated_data=body.sample_data, error=None, message="the data fits the schema"
    )


@router.get("/prompts/{prompt_id}/usage", **require(Scope.READ))
async def get_prompt_usage(context: Context, prompt_id: str) -> PromptUsage:
    """Return who uses a prompt. Running runs do not count: they have a copy."""
    return await context.database.read(_read_usage, prompt_id)


def _read_usage(tx: Tx, prompt_id: str) -> PromptUsage:
    row = catalog.get_prompt(tx, prompt_id)
    users = prompts.describe_users(tx, prompt_id)
    properties = row.json_schema.get("properties")
    return PromptUsage(
        prompt_id=row.id,
        name=row.name,
        is_active=row.is_active,
        is_in_use=bool(users),
        used_by=users,
        created_at=to_iso(row.created_at),
        schema_properties_count=len(properties) if isinstance(properties, dict) else 0,
    )
