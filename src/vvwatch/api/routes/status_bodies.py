"""The response of `GET /status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from vvwatch.api.http.wire import Resource
from vvwatch.api.routes.scans import Reconcile


class SourceStatus(Resource):
    """The health of a change source: `starting`, `healthy`, `degraded` or `failed`, since when, why, and the fix."""

    state: str
    reason: str = ""
    hint: str = ""
    since: str | None = None


class Watching(Resource):
    """How vvwatch detects changes at an active automation's location.

    `learnt_by` is `events` (of a queue), `notices` (of the kernel) or `listing`; `source` is the health of the first
    two. `stretched`: listings are less frequent than wanted, to keep `max_list_calls_per_hour`. `calls_per_hour` is the
    current rate, `hot_prefixes` the number of folders that are checked for new keys between full scans.
    """

    learnt_by: str
    source: SourceStatus | None
    scan_seconds: float
    sweep_seconds: float
    stretched: bool
    max_list_calls_per_hour: int | None
    calls_per_hour: float
    hot_prefixes: int
    last_sweep: Reconcile | None
    next_sweep_at: str | None
    refused_messages: int


class WindowStatus(Resource):
    """An open window: it closes at `due_at` if nothing more arrives, unless it is `held`."""

    window_id: str
    object_count: int
    size_bytes: int
    opened_at: str | None
    due_at: str | None
    held: bool


class ExportingStatus(Resource):
    """The export automation of an index: `active`, `paused` or `disabled`."""

    automation_id: str
    index_id: str
    status: str
    destination_connector_id: str
    last_export_id: str | None
    last_triggered_at: str | None
    last_error: str | None


class AutomationStatus(Resource):
    """An import automation: `active`, `paused` or `disabled`.

    Its scans have failed since `failing_since`, `failures` times in a row. `remarks` are notes other than failures: no
    object matches its pattern, missing objects do not count as deleted yet, exports are paused.
    """

    automation_id: str
    index_id: str
    index_name: str
    connector_id: str
    connector_status: str
    status: str
    source_prefix: str
    file_pattern: str
    window: WindowStatus | None
    watching: Watching | None
    export: ExportingStatus | None
    last_scan_at: str | None
    next_scan_at: str | None
    last_triggered_at: str | None
    last_import_job_id: str | None
    last_run_id: str | None
    last_error: str | None
    last_error_hint: str | None
    failing_since: str | None
    failures: int
    remarks: Sequence[str]


class WorkItem(Resource):
    """Unfinished work: `done` of `total` pieces, `failed` of those. `trouble` says why it waits."""

    id: str
    index_id: str | None
    automation_id: str | None
    status: str
    done: int
    total: int
    failed: int
    created_at: str | None
    trouble: str | None = None
    next_try_at: str | None = None


class Work(Resource):
    """How much work is in progress (counts stop at 10,000), and the newest of it."""

    count: int
    newest: Sequence[WorkItem]


class UnderWay(Resource):
    """Work in progress. `settling` objects wait until no one writes to them."""

    settling: int
    import_jobs: Work
    prompt_runs: Work
    exports: Work


class Attention(Resource):
    """A problem, and the command or action that fixes it (`fix`).

    `kind` is `import_job`, `prompt_run`, `export`, `delivery`, `webhook`, `automation`, `source`, `queue`, `connector`,
    `node`, `machine`, `processor`, `connections` (to the API), `address` (of clients) or `database`. Failures with the
    same cause are merged under the id of the newest; `count` is the number of failed pieces, `alike` the number of
    merged failures. `waiting` problems are retried at `next_try_at`; `failed` ones stay until they are retried,
    dismissed (`dismissable`: by POST /attention/{id}/dismiss), or a day old.
    """

    kind: str
    attention_id: str
    state: str
    what: str
    fix: str
    count: int = 1
    alike: int = 1
    since: str | None = None
    next_try_at: str | None = None
    dismissable: bool = False


class AttentionCounts(Resource):
    """The number of failures of each kind; counts stop at 10,000."""

    import_jobs: int
    import_files: int
    prompt_runs: int
    run_items: int
    segments: int
    exports: int
    exports_waiting: int
    deliveries: int


class NodeStatus(Resource):
    """A node that shares the database.

    `waiting` are connectors that only it reaches, while it is lost. A node without a heartbeat is `lost_at` its last
    one, with the work that it `held` by kind; `loss` describes this and `remedy` what helps. It is shown for a day,
    until it is back, or until it is dismissed.
    """

    name: str
    version: str
    address: str
    started_at: str | None
    seen_at: str | None
    waiting: Sequence[str]
    lost_at: str | None
    held: Mapping[str, int]
    loss: str
    remedy: str


class Budget(Resource):
    """An automation's hourly limit of store calls and its usage; `stretched`: it waits because of the limit."""

    automation_id: str
    max_list_calls_per_hour: int
    calls_per_hour: float
    stretched: bool


class DatabaseStatus(Resource):
    """Whether the database is writable, and why not."""

    writable: bool
    error: str | None


class Status(Resource):
    """The daemon's status. Counts cover everything; `sources` is by automation, `queues`, `connectors` by connector."""

    version: str
    address: str
    started_at: str | None
    ready: bool
    node: str | None
    database: DatabaseStatus
    automations: Sequence[AutomationStatus]
    watching: Mapping[str, Watching]
    work: UnderWay
    attention: Sequence[Attention]
    attention_counts: AttentionCounts
    nodes: Sequence[NodeStatus]
    sources: Mapping[str, SourceStatus]
    queues: Mapping[str, SourceStatus]
    connectors: Mapping[str, SourceStatus] = Field(description="only those that do not respond")
    budgets: Sequence[Budget]
