"""Indexes: where media and their results are kept."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Query
from pydantic import Field

from vvwatch.api.auth import resource_router
from vvwatch.api.context import Context
from vvwatch.api.wire import USER_ID, Body, Resource, Visible, moment
from vvwatch.store import catalog

router = resource_router("indexes")


class IndexBody(Body):
    """A new index."""

    name: Annotated[str, Field(min_length=1, max_length=255), Visible]
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


def shown(row: sa.Row[Any]) -> Index:
    """The index as it is answered."""
    return Index(
        index_id=row.id,
        name=row.name,
        user_id=USER_ID,
        description=row.description,
        sort_order=0,
        is_default=False,
        created_at=moment(row.created_at),
    )


@router.post("/indexes", status_code=201)
async def create_index(context: Context, body: IndexBody) -> Index:
    """Make an index."""
    return shown(await context.database.write(catalog.create_index, body.name, body.description))


@router.get("/indexes")
async def list_indexes(
    context: Context,
    include_defaults: Annotated[bool, Query(description="there are no default indexes here")] = True,  # noqa: ARG001  # clients send it
) -> list[Index]:
    """All indexes, oldest first."""
    return [shown(row) for row in await context.database.read(catalog.list_indexes)]


@router.get("/indexes/{index_id}")
async def get_index(context: Context, index_id: str) -> Index:
    """One index."""
    return shown(await context.database.read(catalog.get_index, index_id))
