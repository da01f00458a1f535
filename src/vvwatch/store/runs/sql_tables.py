"""The results of one index as tables for a query: runs, videos, segments and video_results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.identities import segment_id
from vvwatch.errors import InvalidInput
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.deleted import is_not_deleted
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import media, prompt_runs, run_items, segment_results

MOST_SEGMENTS: Final = 20_000
MOST_BYTES: Final = 32 << 20
_MOST_FIELDS: Final = 150
_KINDS: Final = {"string": "TEXT", "integer": "INTEGER", "number": "REAL", "boolean": "INTEGER"}
_TOO_LARGE: Final = "export it and query the export: Parquet and CSV have the same columns"

_RUNS: Final = (
    ("run_id", "TEXT"), ("prompt_id", "TEXT"), ("prompt_name", "TEXT"), ("status", "TEXT"), ("created_at", "REAL"),
    ("completed_at", "REAL"),
)  # fmt: skip
_VIDEOS: Final = (
    ("video_id", "TEXT"), ("title", "TEXT"), ("key", "TEXT"), ("uri", "TEXT"), ("media_type", "TEXT"),
    ("duration_seconds", "REAL"), ("size_bytes", "INTEGER"), ("facts", "TEXT"), ("created_at", "REAL"),
)  # fmt: skip
_SEGMENTS: Final = (
    ("segment_id", "TEXT"), ("run_id", "TEXT"), ("video_id", "TEXT"), ("start_time", "REAL"), ("end_time", "REAL"),
    ("metadata_text", "TEXT"), ("metadata", "TEXT"),
)  # fmt: skip
_RESULTS: Final = (("run_id", "TEXT"), ("video_id", "TEXT"), ("metadata_text", "TEXT"), ("metadata", "TEXT"))


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of prompts that are columns: name of the column, its type, and the key in the metadata."""

    segments: Sequence[tuple[str, str, str]]
    video_results: Sequence[tuple[str, str, str]]


def read_catalog(tx: Tx, index_id: str) -> dict[str, list[tuple[str, str]]]:
    """Return the columns (name and type) of each table of an index. Raises NotFound."""
    fields = _read_fields(tx, index_id)
    return {
        "runs": list(_RUNS),
        "videos": list(_VIDEOS),
        "segments": [*_SEGMENTS, *((name, kind) for name, kind, _ in fields.segments)],
        "video_results": [*_RESULTS, *((name, kind) for name, kind, _ in fields.video_results)],
    }


def read_tables(tx: Tx, index_id: str) -> dict[str, dict[str, Any]]:
    """Return the tables with their rows. Raises NotFound, and InvalidInput for an index that is too large."""
    columns, fields = read_catalog(tx, index_id), _read_fields(tx, index_id)
    rows = {
        "runs": _read_runs(tx, index_id),
        "videos": [tuple(row) for row in tx.all(_select_videos(index_id))],
        "segments": _read_segments(tx, index_id, fields.segments),
        "video_results": _read_results(tx, index_id, fields.video_results),
    }
    if sum(map(len, rows.values())) > 2 * MOST_SEGMENTS:
        raise InvalidInput(f"the index has more than {2 * MOST_SEGMENTS:,} rows", _TOO_LARGE)
    return {name: {"columns": columns[name], "rows": found} for name, found in rows.items()}


def _read_fields(tx: Tx, index_id: str) -> Fields:
    catalog.get_index(tx, index_id)
    prompts = [row.prompt or {} for row in tx.all(_of_index(sa.select(prompt_runs.c.prompt), index_id))]
    wholes = ((prompt.get("video_level") or {}).get("json_schema") for prompt in prompts)
    return Fields(
        _to_fields((prompt.get("json_schema") for prompt in prompts), _SEGMENTS), _to_fields(wholes, _RESULTS)
    )


def _to_fields(
    schemas: Iterable[Mapping[str, Any] | None], fixed: Sequence[tuple[str, str]]
) -> list[tuple[str, str, str]]:
    """Return the top-level properties of the schemas as columns; `field_` precedes names that are taken."""
    taken = {name for name, _ in fixed}
    found: dict[str, tuple[str, str, str]] = {}
    for schema in schemas:
        for key, about in ((schema or {}).get("properties") or {}).items():
            name = f"field_{key}".lower() if key.lower() in taken else key.lower()
            kind = about.get("type") if isinstance(about, dict) else None
            found.setdefault(name, (name, _KINDS.get(kind, "TEXT") if isinstance(kind, str) else "TEXT", key))
    return list(found.values())[:_MOST_FIELDS]


def _of_index(chosen: sa.Select[Any], index_id: str) -> sa.Select[Any]:
    return chosen.where(prompt_runs.c.index_id == index_id).order_by(prompt_runs.c.id.desc()).limit(1_000)


def _read_runs(tx: Tx, index_id: str) -> list[tuple[Any, ...]]:
    table = prompt_runs.c
    chosen = sa.select(
        table.id, table.prompt_id, table.prompt, table.status, table.created_at, table.completed_at
    )
    rows = tx.all(_of_index(chosen, index_id))
    return [(row.id, row.prompt_id, (row.prompt or {}).get("name"), *tuple(row)[3:]) for row in rows]


def _select_videos(index_id: str) -> sa.Select[Any]:
    table = media.c
    columns = (
        table.id, table.title, table.key, table.uri, table.media_type, table.duration_seconds, table.size_bytes,
        sa.type_coerce(table.facts, sa.Text), table.created_at,
    )  # fmt: skip
    wanted = table.index_id == index_id, is_not_deleted(table.id)
    return sa.select(*columns).where(*wanted).order_by(table.id.desc()).limit(2 * MOST_SEGMENTS + 1)


def _read_segments(tx: Tx, index_id: str, fields: Sequence[tuple[str, str, str]]) -> list[tuple[Any, ...]]:
    its, item = segment_results.c, run_items.c
    chosen = (
        sa.select(
            its.run_item_id, its.ordinal, item.run_id, item.media_id, its.start_time, its.end_time, its.metadata_text,
            sa.type_coerce(its.metadata, sa.Text).label("document"),
        )
        .join(run_items, item.id == its.run_item_id)
        .join(media, media.c.id == item.media_id)
        .where(media.c.index_id == index_id, is_not_deleted(media.c.id), its.error.is_(None))
        .limit(MOST_SEGMENTS + 1)
    )  # fmt: skip
    rows = tx.all(chosen)
    if len(rows) > MOST_SEGMENTS:
        raise InvalidInput(f"the index has more than {MOST_SEGMENTS:,} segments", _TOO_LARGE)
    _require_small(row.document for row in rows)
    return [
        (segment_id(row.run_item_id, row.ordinal), *tuple(row)[2:], *_read_values(row.document, fields))
        for row in rows
    ]


def _read_results(tx: Tx, index_id: str, fields: Sequence[tuple[str, str, str]]) -> list[tuple[Any, ...]]:
    item = run_items.c
    document = sa.type_coerce(item.video_metadata, sa.Text).label("document")
    chosen = sa.select(item.run_id, item.media_id, item.video_metadata_text, document)
    chosen = chosen.join(media, media.c.id == item.media_id)
    wanted = media.c.index_id == index_id, is_not_deleted(media.c.id), item.video_metadata.is_not(None)
    rows = tx.all(chosen.where(*wanted).limit(2 * MOST_SEGMENTS + 1))
    _require_small(row.document for row in rows)
    return [(*row, *_read_values(row.document, fields)) for row in rows]


def _require_small(documents: Iterable[str | None]) -> None:
    if sum(len(document or "") for document in documents) > MOST_BYTES:
        raise InvalidInput(f"the index has more than {MOST_BYTES >> 20} MiB of metadata", _TOO_LARGE)


def _read_values(document: str | None, fields: Sequence[tuple[str, str, str]]) -> list[Any]:
    found = json.loads(document or "{}")
    return [_to_value(found.get(key)) for _, _, key in fields]


def _to_value(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return float(value) if isinstance(value, int) and abs(value) > 1 << 62 else value
