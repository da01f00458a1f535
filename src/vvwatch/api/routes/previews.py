"""Dry runs: what a saved or a proposed import automation would import."""

from __future__ import annotations

from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.wire import Resource
from vvwatch.core.filters import ObjectFilter, explain_if_known
from vvwatch.core.globs import HINT, regular_expression_in
from vvwatch.store.watching.dry_run import Parts
from vvwatch.workflow.watching.preview import Preview, preview_import
from vvwatch.workflow.watching.watch_state import WatchState


class Declined(Resource):
    """How many objects a rule excludes, and why."""

    reason: str
    count: int
    explanation: str


class ImportPreview(Resource):
    """The result of a listing that changes nothing.

    `matched` objects pass all rules: `new` ones would be imported, `known` ones were before. `new_keys` has the first
    hundred. A listing that is not `complete` stopped because of `stopped_because`.
    """

    dry_run: bool
    index_id: str
    connector_id: str
    source_prefix: str
    file_pattern: str
    recursive: bool
    exclude: list[str]
    min_size_bytes: int | None
    max_size_bytes: int | None
    import_mode: str
    listed: int
    matched: int
    new: int
    known: int
    declined: list[Declined]
    new_keys: list[str]
    complete: bool
    stopped_because: str | None
    warnings: list[str]


async def preview_automation(context: ApiContext, parts: Parts) -> ImportPreview:
    """Return what the automation would import. Raises StorageError if its location cannot be listed."""
    row, connector = parts
    storage = await context.open_storage(connector)
    rules = ObjectFilter.of(row)
    mode = row.import_mode_override or connector.import_mode
    watched = WatchState(row, connector, storage, rules, mode == "new_only")
    return _to_response(parts, mode, await preview_import(context.database, watched))


def check_pattern(pattern: str) -> list[str]:
    """Return warnings about a pattern."""
    why = regular_expression_in(pattern)
    return [f"{pattern!r} {why}; {HINT}"] if why else []


def _to_response(parts: Parts, mode: str, found: Preview) -> ImportPreview:
    row, _ = parts
    return ImportPreview.of(
        row,
        dry_run=True,
        exclude=row.exclude_patterns or [],
        import_mode=mode,
        listed=found.listed,
        matched=found.matched,
        new=found.new,
        known=found.known,
        declined=[
            Declined(reason=reason, count=count, explanation=explain_if_known(reason))
            for reason, count in found.declined.most_common()
        ],
        new_keys=found.new_keys,
        complete=not found.stopped,
        warnings=check_pattern(row.file_pattern),
        stopped_because=found.stopped or None,
    )
