"""Failures that need a person, grouped by reason; retry or dismiss a whole group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from vvwatch.api.http.auditing import Audit, Audited
from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import Body, Resource, to_iso
from vvwatch.api.routes.attention import recent_since
from vvwatch.core.keys import Scope
from vvwatch.store.admin import failure_actions, failure_groups
from vvwatch.store.admin.failure_actions import Acted
from vvwatch.store.admin.failure_groups import FailedKind, FailureGroup
from vvwatch.store.db.database import Tx

router = resource_router("status")


class FailureGroupBody(Body):
    """A group of failures, as `GET /attention/groups` names it."""

    kind: Annotated[FailedKind, Field(strict=False)]
    reason: Annotated[str, Field(min_length=1, max_length=10_000)]
    about: Annotated[str, Field(max_length=200, description="the webhook of deliveries")] = ""


class AttentionGroup(Resource):
    """Failures of one kind with the same reason. `message` is that of the newest, which `example` names."""

    kind: FailedKind
    reason: str
    about: str
    count: int
    message: str
    example: str
    newest_at: str | None


class GroupChange(Resource):
    """How many failures were retried or dismissed, how many could not be and why, and whether there are `more`."""

    done: int
    refused: int
    refusal: str
    more: bool


@router.get("/attention/groups", **extension("Failures by reason", Scope.READ))
async def list_attention_groups(context: Context) -> list[AttentionGroup]:
    """List the reasons of all failures that need attention, the most frequent first."""
    since = recent_since(context.clock.now())
    return [to_group(each) for each in await context.database.read(failure_groups.list_groups, since)]


def to_group(group: FailureGroup) -> AttentionGroup:
    """Return the group as a response."""
    newest = group.newest
    return AttentionGroup.of(group, message=newest.message, example=newest.label, newest_at=to_iso(newest.at))


@router.post("/attention/groups/retry", **extension("Retry failures with one reason", Scope.WRITE))
async def retry_attention_group(context: Context, audited: Audited, body: FailureGroupBody) -> GroupChange:
    """Retry the newest failures of a group, at most 200. Repeat the request while there are more."""
    return await _act(failure_actions.retry_group, context, audited, body)


@router.post("/attention/groups/dismiss", **extension("Dismiss failures with one reason", Scope.WRITE))
async def dismiss_attention_group(context: Context, audited: Audited, body: FailureGroupBody) -> GroupChange:
    """Dismiss the newest failures of a group, at most 200. Failed files and media are dismissed with all that failed in
    their import job or prompt run.
    """
    return await _act(failure_actions.dismiss_group, context, audited, body)


async def _act(
    act: Callable[[Tx, FailedKind, str, str, float], Acted],
    context: Context,
    audited: Audit,
    body: FailureGroupBody,
) -> GroupChange:
    since = recent_since(context.clock.now())
    audited.details["reason"] = body.reason
    done = await audited.write(
        lambda tx: act(tx, body.kind, body.reason, body.about, since),
        lambda made: body.kind.value if made.done else None,
    )
    return GroupChange.of(done)
