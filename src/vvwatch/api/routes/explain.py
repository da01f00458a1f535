"""Explain why an object was or was not imported, processed, exported and announced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.errors import STORAGE_ERRORS
from vvwatch.api.http.wire import Resource, to_iso
from vvwatch.api.routes.automations import status_of
from vvwatch.api.routes.explain_text import Facts, describe_object, file_status
from vvwatch.api.routes.object_state import Here, Standing, look_up
from vvwatch.api.routes.resolve_uri import resolve_uri
from vvwatch.api.routes.videos import Video
from vvwatch.api.routes.videos import to_response as to_video_response
from vvwatch.core.filters import ObjectFilter, Verdict, explain_reason
from vvwatch.core.identities import segment_id
from vvwatch.core.keys import Scope
from vvwatch.core.locations import check_key
from vvwatch.core.objects import StorageObject
from vvwatch.core.versions import is_same_version
from vvwatch.errors import InvalidInput
from vvwatch.store.catalog import catalog
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.runs import ItemWithRun, SegmentResult
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.watching.explain_queries import IndexRecord, VersionRecord, read_object_record

router = resource_router("explain")


class FilterVerdict(Resource):
    """The decision of an automation's filter."""

    accepted: bool
    reason: str
    explanation: str
    detail: str


class Observed(Resource):
    """Why a scan skipped the object, and the import job that reported it."""

    version: str
    reason: str
    detail: str
    seen_at: str | None
    import_job_id: str | None


class FailedStretch(Resource):
    """A failed segment; times in seconds."""

    segment_id: str
    start_time: float
    end_time: float
    error: str


class RunStep(Resource):
    """The result of a prompt run, and the first failed segments."""

    run_id: str
    prompt_id: str | None
    processor: str
    status: str
    attempts: int
    segment_count: int
    failed_segment_count: int
    error_code: str | None
    error_message: str | None
    failed_segments: list[FailedStretch]


class ExportStep(Resource):
    """An export that contains the results."""

    export_id: str
    run_id: str | None
    status: str
    destination_uri: str | None
    last_error: str | None


class DeliveryStep(Resource):
    """A webhook delivery."""

    delivery_id: str
    webhook_id: str
    webhook_name: str
    event_type: str
    status: str
    attempts: int
    error_message: str | None


class VersionHistory(Resource):
    """The history of one version. Without a window it is known and not imported.

    The full scan that began at `absent_since` missed it; it counts as deleted since `gone_at`, by `gone_proof`:
    `sweeps` (two scans in a row), `event` or `person`.
    """

    version: str
    is_current: bool
    absent_since: str | None
    gone_at: str | None
    gone_proof: str | None
    window_id: str | None
    window_state: str | None
    window_held: bool
    window_due_at: str | None
    window_reason: str | None
    import_job_id: str | None
    import_job_status: str | None
    file_status: str | None
    file_reason: str | None
    file_message: str | None
    video: Video | None
    runs: list[RunStep]
    exports: list[ExportStep]
    deliveries: list[DeliveryStep]


class IndexHistory(Resource):
    """The object's history in one index, and a sentence that sums it up."""

    index_id: str
    automation_id: str | None
    automation_status: str | None
    export_status: str | None
    conclusion: str
    verdict: FilterVerdict | None
    observed: Observed | None
    versions: list[VersionHistory]


class Place(Resource):
    """The object as one connector reaches it."""

    connector_id: str
    key: str
    uri: str
    standing: Standing
    own_export_id: str | None
    indexes: list[IndexHistory]


class Explanation(Resource):
    """The object's history through every connector that reaches it."""

    places: list[Place]


@router.get(
    "/explain",
    **extension(
        "The history of an object, and why",
        Scope.READ,
        errors=("resource_connector_not_found", *STORAGE_ERRORS),
    ),
)
async def explain_object(
    context: Context,
    uri: Annotated[str | None, Query(max_length=8192, description="a URI, or an absolute path")] = None,
    connector_id: Annotated[str | None, Query(max_length=200)] = None,
    key: Annotated[str | None, Query(max_length=4096)] = None,
) -> Explanation:
    """Return the history of an object, given by its URI or by a connector and a key."""
    if uri and not connector_id and not key:
        located = await resolve_uri(context, uri)
    elif connector_id and key and not uri:
        located = [(await context.database.read(catalog.get_connector, connector_id), key)]
    else:
        raise InvalidInput("give either uri, or connector_id and key")
    return Explanation(places=[await _explain_place(context, row, at) for row, at in located])


async def _explain_place(context: ApiContext, row: Connector, key: str) -> Place:
    check_key(key)
    here = await look_up(context, row, key)
    known = await context.database.read(read_object_record, row.id, key, here.uri)
    exists = here.standing.exists
    own_export_id = known.find_own_export(here.obj)
    facts = Facts(context.clock.now(), here.obj, exists, row.import_mode, own_export_id)
    return Place(
        connector_id=row.id,
        key=key,
        uri=here.uri,
        standing=here.standing,
        own_export_id=own_export_id,
        indexes=[_index_history(facts, here, key, index) for index in known.indexes],
    )


def _index_history(facts: Facts, here: Here, key: str, index: IndexRecord) -> IndexHistory:
    verdict = None if index.automation is None else _judge(index.automation, key, facts.obj)
    return IndexHistory(
        index_id=index.index_id,
        automation_id=index.automation.id if index.automation is not None else None,
        automation_status=status_of(index.automation) if index.automation is not None else None,
        export_status=status_of(index.exporting) if index.exporting is not None else None,
        conclusion=describe_object(facts, here, verdict, index),
        verdict=None if verdict is None else _to_verdict(verdict),
        observed=None
        if index.observation is None
        else Observed.of(index.observation, import_job_id=index.observation.job_id),
        versions=[_to_version(version, facts) for version in (*index.gone, *index.versions)],
    )


def _judge(automation: ImportAutomation, key: str, obj: StorageObject | None) -> Verdict:
    rules = ObjectFilter.of(automation)
    return rules.name_verdict(key) if obj is None else rules.verdict(obj)


def _to_verdict(verdict: Verdict) -> FilterVerdict:
    return FilterVerdict.of(verdict, explanation=explain_reason(verdict.reason))


def _to_version(found: VersionRecord, facts: Facts) -> VersionHistory:
    window, job, file = found.window, found.job, found.file
    return VersionHistory(
        version=found.version,
        is_current=found.gone_at is None
        and facts.obj is not None
        and is_same_version(facts.obj.version, found.version),
        absent_since=to_iso(found.absent_since),
        gone_at=to_iso(found.gone_at),
        gone_proof=found.proof or None,
        window_id=window.id if window is not None else None,
        window_state=window.state if window is not None else None,
        window_held=window is not None and window.held and window.state == "open",
        window_due_at=to_iso(window.due_at) if window is not None else None,
        window_reason=window.reason if window is not None else None,
        import_job_id=job.id if job is not None else None,
        import_job_status=job.status if job is not None else None,
        file_status=file_status(found),
        file_reason=file.reason if file is not None else None,
        file_message=file.message if file is not None else None,
        video=to_video_response(found.media.row) if found.media is not None else None,
        runs=[]
        if found.media is None
        else [_to_run(row, found.failed.get(row.id, ())) for row in found.media.items],
        exports=[ExportStep.of(row, export_id=row.id) for row in found.exports],
        deliveries=[DeliveryStep.of(row, delivery_id=row.id) for row in found.deliveries],
    )


def _to_run(row: ItemWithRun, failed: Sequence[SegmentResult]) -> RunStep:
    stretches = [FailedStretch.of(each, segment_id=segment_id(row.id, each.ordinal)) for each in failed]
    return RunStep.of(
        row, prompt_id=row.run_prompt_id, processor=row.run_processor, failed_segments=stretches
    )
