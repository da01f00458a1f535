"""What `GET /status` answers, as it is described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from vvwatch.api.http.wire import Resource
from vvwatch.api.routes.scans import Reconcile


class SourceStatus(Resource):
    """How a source of changes is: `starting`, `healthy`, `degraded` or `failed` since then; why, and what to do."""

    state: str
    reason: str = ""
    hint: str = ""
    since: str | None = None


class Watching(Resource):
    """How changes are learnt of at an active automation's location.

    `learnt_by` is `events` (of a queue), `notices` (of the kernel) or `listing`; `source` is the health of the first
    two. `stretched`: listings are further apart than wanted, to keep `max_list_calls_per_hour`. `calls_per_hour` is
    what all takes at this pace, `hot_prefixes` in how many folders new keys are looked for between sweeps.
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

    Its scans fail since `failing_since`, `failures` of them in a row. `remarks` are what is worth knowing and is no
    failure: that nothing matches its pattern, that what is missing is not believed to be gone, that exports are paused.
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
    """Work that has not ended: `done` of `total` pieces, `failed` of those. `trouble` says why it waits."""

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
    """How much is under way (counts stop at 10,000), and the newest of it."""

    count: int
    newest: Sequence[WorkItem]


class UnderWay(Resource):
    """The work in progress. `settling` objects wait until nobody writes to them any more."""

    settling: int
    import_jobs: Work
    prompt_runs: Work
    exports: Work


class Attention(Resource):
    """Something that needs somebody, and what to type or do (`fix`).

    `kind` is `import_job`, `prompt_run`, `export`, `delivery`, `webhook`, `automation`, `source`, `queue`, `connector`,
    `node`, `machine`, `processor`, `connections` (to the API), `address` (of clients) or `database`. Failures that
    say the same are one, under the id of the newest; `count` is how many pieces failed, `alike` how many of the
    kind say the same. What is `waiting` is tried again by itself at `next_try_at`; what has `failed` stays here
    until it is tried again, dismissed (`dismissable`: by POST /attention/{id}/dismiss), or a day old.
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
    """How much there is of each kind of failure, over everything; counts stop at 10,000."""

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

    `waiting` are connectors that only it reaches, while it is lost. One that gave no sign of life for its heartbeat is
    `lost_at` its last one, with what it `held` then by the kind of work; `loss` says so and `remedy` what helps. It is
    told for a day, until it is back, or until it is dismissed.
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
    """What an automation may ask of its store in an hour, and what it does; `stretched`: it waits because of that."""

    automation_id: str
    max_list_calls_per_hour: int
    calls_per_hour: float
    stretched: bool


class DatabaseStatus(Resource):
    """Whether the database takes writes, and why not."""

    writable: bool
    error: str | None


class Status(Resource):
    """What the daemon is doing. All of it is counted over everything; `sources` is by automation, `queues` and
    `connectors` by connector.
    """

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
    connectors: Mapping[str, SourceStatus] = Field(description="only those that do not answer")
    budgets: Sequence[Budget]
