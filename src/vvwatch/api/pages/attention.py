"""What needs a person: problems of the server, and failures grouped by their reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Query, Response

from vvwatch.api.http.pagination import decode_cursor
from vvwatch.api.pages.access import Page, PageRequest, page_router
from vvwatch.api.pages.actions import Action, ActionForm, register_actions
from vvwatch.api.pages.deliveries import RESEND
from vvwatch.api.pages.exports import RETRY as RETRY_EXPORT
from vvwatch.api.pages.jobs import RETRY_FILE
from vvwatch.api.pages.lists import LISTED, After, Listing, to_listing
from vvwatch.api.pages.overview import list_ailing
from vvwatch.api.pages.runs import RETRY_SEGMENT
from vvwatch.api.routes.attention import list_attention, recent_since
from vvwatch.api.routes.status_bodies import Attention
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.core.runs import MEDIA_DAMAGED
from vvwatch.store.admin import failure_groups
from vvwatch.store.admin import status_queries as queries
from vvwatch.store.admin.failure_groups import SOME_SEGMENTS_FAILED, FailedKind, FailedPiece, FailureGroup
from vvwatch.store.admin.overview_queries import list_failing
from vvwatch.store.admin.status_queries import State
from vvwatch.store.db.database import Tx
from vvwatch.workflow.upkeep.findings import webhook_advice

router = page_router()

ON_ONE_PAGE: Final = 25
_MOST_TROUBLED: Final = 200
_RETRY: Final = "retry-group"
_DISMISS: Final = "dismiss-group"
_TITLES: Final = {
    FailedKind.FILE: ("file was not imported", "files were not imported"),
    FailedKind.JOB: ("import job failed", "import jobs failed"),
    FailedKind.ITEM: ("media item was not processed", "media items were not processed"),
    FailedKind.RUN: ("prompt run failed", "prompt runs failed"),
    FailedKind.EXPORT: ("export failed", "exports failed"),
    FailedKind.DELIVERY: ("delivery was given up", "deliveries were given up"),
}
"""What happened to one, and to several."""
_NOUNS: Final = {
    FailedKind.FILE: ("file", "files"),
    FailedKind.JOB: ("import job", "import jobs"),
    FailedKind.ITEM: ("media item", "media items"),
    FailedKind.RUN: ("prompt run", "prompt runs"),
    FailedKind.EXPORT: ("export", "exports"),
    FailedKind.DELIVERY: ("delivery", "deliveries"),
}
_ADVICE: Final[Mapping[str, str]] = {
    "object_not_found": "they were deleted before they were read: upload them again, or dismiss this",
    "object_changed": "they changed while they were read: the next scan takes the new version",
    "access_denied": "let the connector's credentials read these objects, then retry",
    "object_archived": "restore them from the archive, then retry",
    "storage_unavailable": "check the connector with Test, then retry",
    "media_unreadable": "replace them with good copies, which are imported as new versions, or exclude them",
    "media_unsupported": "convert them, or exclude their names by the automation's pattern",
    "media_encrypted": "supply them without encryption, or exclude them",
    "media_limit": "raise the limit in [media], or exclude them, then retry",
    "processor_refused": "read the message: the processor does not want these; change the prompt, then retry",
    "processor_error": "check the processor's endpoint with vvwatch doctor, then retry",
    "processor_crashed": "the file ended the processor: convert it, or exclude it",
    "segments_failed": "open one to see which segments failed and why, then retry",
    SOME_SEGMENTS_FAILED: "open one to see which segments failed and why, then retry",
    "video_level_failed": "the result for the whole is missing: retry",
    "attachment_download_failed": "open one and retry its job; with new addresses, if these have expired",
}
_BY_SEGMENT: Final = frozenset({SOME_SEGMENTS_FAILED, MEDIA_DAMAGED})
_OTHERWISE: Final = "read the message, remove the cause, then retry or dismiss"

_GROUP: Final = {"kind": str, "reason": str, "about": str}


def _say_retried(answer: Mapping[str, Any]) -> str:
    refused = f"; {answer['refused']:,} cannot be: {answer['refusal']}" if answer["refused"] else ""
    more = ". There are more: repeat it" if answer["more"] else ""
    verb = "is" if answer["done"] == 1 else "are"
    return f"{answer['done']:,} {verb} tried again{refused}{more}."


def _say_dismissed(answer: Mapping[str, Any]) -> str:
    verb = "was" if answer["done"] == 1 else "were"
    return f"{answer['done']:,} {verb} dismissed{'. There are more: repeat it' if answer['more'] else ''}."


register_actions(
    {
        _RETRY: Action(
            "POST", "/attention/groups/retry", "Retry all", "", fields=_GROUP, describe=_say_retried
        ),
        _DISMISS: Action(
            "POST",
            "/attention/groups/dismiss",
            "Dismiss all",
            "",
            confirm="Dismiss these failures? Failed files and media go with all that failed in their job or run.",
            fields=_GROUP,
            describe=_say_dismissed,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Group:
    """Failures with one reason, what to do about them, and the buttons that do it."""

    group: FailureGroup
    title: str
    advice: str
    retry: ActionForm | None
    dismiss: ActionForm | None


@dataclass(frozen=True, slots=True)
class KindCount:
    """How many failures of a kind there are, `more` perhaps, and what one and several are called."""

    count: int
    nouns: tuple[str, str]
    more: bool


@dataclass(frozen=True, slots=True)
class AttentionPage:
    """Problems, counts of all failures, and page `number` of `pages` of their groups."""

    problems: Sequence[Attention]
    counts: Sequence[KindCount]
    groups: Sequence[Group]
    number: int
    pages: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One failure, the page that shows it, and the button that retries it."""

    piece: FailedPiece
    link: str
    retry: ActionForm | None


@dataclass(frozen=True, slots=True)
class GroupPage:
    """A group, and a page of its failures; `group` is None when nothing is left of it."""

    group: Group | None
    pieces: Listing[Piece]


@router.get("/attention")
async def show_attention(
    page: Page, number: Annotated[int, Query(ge=1, le=1_000, alias="page")] = 1
) -> Response:
    """Show everything that needs a person."""
    daemon, since = await page.context.status(), recent_since(page.context.clock.now())
    state, found = await page.context.database.read(_read, since, list_ailing(daemon))
    pages = max(1, -(-len(found) // ON_ONE_PAGE))
    number = min(number, pages)
    shown = found[(number - 1) * ON_ONE_PAGE : number * ON_ONE_PAGE]
    view = AttentionPage(
        problems=list_attention(state, daemon),
        counts=_count_by_kind(found),
        groups=[_to_group(page, each) for each in shown],
        number=number,
        pages=pages,
    )
    return await page.render("attention.html", view, "Needs attention")


def _count_by_kind(found: Sequence[FailureGroup]) -> list[KindCount]:
    counts = Counter[FailedKind]()
    for each in found:
        counts[each.kind] += each.count
    return [
        KindCount(count, _NOUNS[kind], count == failure_groups.most_counted(kind))
        for kind, count in counts.items()
    ]


def _read(tx: Tx, since: float, ailing: Sequence[str]) -> tuple[State, list[FailureGroup]]:
    troubled = [*list_failing(tx, _MOST_TROUBLED), *ailing[:_MOST_TROUBLED]]
    return queries.read_state(tx, since, troubled, most_failures=0), failure_groups.list_groups(tx, since)


@router.get("/attention/{kind}")
async def show_group(
    page: Page,
    kind: FailedKind,
    reason: Annotated[str, Query(max_length=10_000)],
    about: Annotated[str, Query(max_length=200)] = "",
    cursor: After = None,
) -> Response:
    """List the failures of one kind with one reason, newest first."""
    since = recent_since(page.context.clock.now())
    before = decode_cursor(cursor)
    found = await page.context.database.read(failure_groups.list_groups, since, (kind,))
    rows = await page.context.database.read(
        failure_groups.list_pieces, kind, reason, about, since, before, LISTED + 1
    )
    query = {"reason": reason, "about": about}
    listing = to_listing(rows, lambda row: row.id, cursor, query=query)
    pieces = [_to_piece(page, kind, row) for row in listing.rows]
    wanted = kind, reason, about
    group = next((each for each in found if (each.kind, each.reason, each.about) == wanted), None)
    view = GroupPage(
        None if group is None else _to_group(page, group),
        Listing(pieces, (), listing.more, listing.first),
    )
    return await page.render("attention_group.html", view, f"Why {_TITLES[kind][1]}")


def _to_group(page: PageRequest, group: FailureGroup) -> Group:
    fields = {"kind": group.kind.value, "reason": group.reason, "about": group.about}
    advice = (
        webhook_advice(group.reason)
        if group.kind is FailedKind.DELIVERY
        else _ADVICE.get(group.reason, _OTHERWISE)
    )
    return Group(
        group=group,
        title=_TITLES[group.kind][group.count > 1],
        advice=advice,
        retry=page.action(_RETRY, fields) if group.retryable else None,
        dismiss=page.action(_DISMISS, fields),
    )


def _to_piece(page: PageRequest, kind: FailedKind, row: FailedPiece) -> Piece:
    match kind:
        case FailedKind.FILE:
            return Piece(row, f"/jobs/{row.owner}?status=failed", _offer_file(page, row))
        case FailedKind.ITEM:
            return Piece(row, f"/media/{row.media_id}?run_id={row.owner}", _offer_item(page, row))
        case FailedKind.EXPORT:
            return Piece(row, f"/exports/{row.id}", page.action(RETRY_EXPORT, export_id=row.id))
        case FailedKind.DELIVERY:
            return Piece(row, f"/deliveries/{row.id}", page.action(RESEND, delivery_id=row.id))
        case FailedKind.JOB:
            return Piece(row, f"/jobs/{row.id}", None)
        case FailedKind.RUN:
            return Piece(row, f"/runs/{row.id}", None)


def _offer_file(page: PageRequest, row: FailedPiece) -> ActionForm | None:
    """Return the button for a file of a store that is scanned; others are retried with their job, or sent again."""
    return page.action(RETRY_FILE, job_id=row.owner, file_id=str(row.id)) if row.retryable else None


def _offer_item(page: PageRequest, row: FailedPiece) -> ActionForm | None:
    """Return the button for an item that failed as a whole; the segments of others have their own."""
    if row.reason in _BY_SEGMENT:
        return None
    whole = segment_id(row.id, WHOLE)
    return page.action(RETRY_SEGMENT, run_id=row.owner, video_id=row.media_id, segment_id=whole)
