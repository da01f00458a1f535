"""Find the whole id that a shortened one means."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import Query

from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import Resource
from vvwatch.core.keys import Scope
from vvwatch.store.admin import id_queries

router = resource_router("ids")

_MOST: Final = 20


class FoundId(Resource):
    """A whole id."""

    resource_id: str


@router.get("/ids", **extension("Ids that begin or end so", Scope.READ))
async def list_ids(
    context: Context,
    kind: Annotated[
        Literal["job", "run", "exp", "del", "vid", "win"], Query(description="the prefix of the id")
    ],
    part: Annotated[
        str,
        Query(
            min_length=4,
            max_length=26,
            pattern="^[0-9a-z]+$",
            description="how the id begins after its prefix, or ends",
        ),
    ],
) -> list[FoundId]:
    """List the first 20 whole ids, newest first, that begin or end with a part of an id: one means it is unique."""
    found = await context.database.read(id_queries.list_like, kind, part, _MOST)
    return [FoundId(resource_id=each) for each in found]
