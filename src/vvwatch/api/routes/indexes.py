"""Indexes: collections of media and their results."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response
from pydantic import Field

from vvwatch.api.http.auth import extension, require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.idempotency import Idempotent
from vvwatch.api.http.wire import USER_ID, Body, Resource, Visible
from vvwatch.core.keys import Scope
from vvwatch.store.catalog import catalog
from vvwatch.store.models.catalog import Index as IndexRow

router = resource_router("indexes")


class IndexBody(Body):
    """A new index."""

    name: Annotated[str, Field(min_length=1, max_length=255), Visible]
    description: Annotated[str | None, Field(max_length=500)] = None


class IndexChanges(Body):
    """Changes to an index. Missing fields keep their values; a description of null removes it."""

    name: Annotated[str, Field(min_length=1, max_length=255), Visible] = ""
    description: Annotated[str | None, Field(max_length=500)] = None


class Index(Resource):
    """An index."""

    index_id: str
    name: str
    user_id: str
    description: str | None
    sort_order: int
    is_default: bool
    created_at: str | None


def to_response(row: IndexRow) -> Index:
    """Return the index as a response."""
    return Index.of(row, index_id=row.id, user_id=USER_ID, sort_order=0)


@router.post("/indexes", status_code=201, response_model=Index, **require(Scope.WRITE))
async def create_index(once: Idempotent, body: IndexBody) -> Response:
    """Create an index."""
    return await once(lambda tx: to_response(catalog.create_index(tx, body.name, body.description)))


@router.get("/indexes", **require(Scope.SEARCH))
async def list_indexes(
    context: Context,
    include_defaults: Annotated[bool, Query(description="include the playground, once it is used")] = True,
) -> list[Index]:
    """List all indexes, oldest first."""
    found = await context.database.read(catalog.list_indexes, include_defaults=include_defaults)
    return [to_response(row) for row in found]


@router.get("/indexes/{index_id}", **require(Scope.SEARCH))
async def get_index(context: Context, index_id: str) -> Index:
    """Return an index."""
    return to_response(await context.database.read(catalog.get_index, index_id))


@router.patch(
    "/indexes/{index_id}", response_model=Index, **extension("Rename or describe an index.", Scope.WRITE)
)
async def change_index(once: Idempotent, index_id: str, body: IndexChanges) -> Response:
    """Change an index's name or description. Change a declared index in the configuration file."""
    changes = body.model_dump(exclude_unset=True)
    return await once.changing(changes)(lambda tx: to_response(catalog.change_index(tx, index_id, changes)))
