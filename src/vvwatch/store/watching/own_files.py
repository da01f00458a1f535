"""Files that exports write, with their contents: what still has one of them is ours, and may be replaced or removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.outputs import Output, Written, remember
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import first_of, models_of
from vvwatch.store.schema import outputs, run_items

_PAGE: Final = 100


class Claim(StrEnum):
    """Whose a name is: new and of this export, of this export from before, a newer export's, or somebody else's."""

    NEW = "new"
    OURS = "ours"
    NEWER = "newer"
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Beside:
    """The place of a file beside its source. Exports of one `series` replace their files beside a media item."""

    media_id: str
    series: str
    connector_id: str
    key: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """A file beside a source, which an earlier export wrote and a newer one does not."""

    uri: str
    output: Output
    connector_id: str
    key: str


@dataclass(frozen=True, slots=True)
class _StoredOutput:
    """A row of `outputs`."""

    uri: str
    export_id: str
    created_at: float | None
    written: list[tuple[int, str]] | None
    media_id: str
    series: str
    connector_id: str
    key: str


def series_of(index_id: str | None, prompt_id: str) -> str:
    """Return the series of exports that holds the results of one prompt for one index."""
    return f"{index_id or ''}/{prompt_id}"


def find_outputs(tx: Tx, uris: Sequence[str]) -> dict[str, Output]:
    """Return those of these addresses that exports claimed, with what they wrote there."""
    if not uris:
        return {}
    rows = models_of(_StoredOutput, tx.all(sa.select(outputs).where(outputs.c.uri.in_(uris))))
    return {row.uri: _read_output(row) for row in rows}


def claim_file(
    tx: Tx, uri: str, export_id: str, content: Written, beside: Beside | None = None, *, is_free: bool = True
) -> Claim:
    """Claim an address for a file, before it is written. Without `is_free` something exists there.

    One beside a source passes from an earlier export of its series to this one.
    """
    chosen = sa.select(outputs).where(outputs.c.uri == uri).with_for_update()
    row = first_of(_StoredOutput, tx.execute(chosen))
    values: dict[str, Any] = {}
    if row is None or row.written is not None:
        # else an older version wrote it, and anything there may be ours
        written = remember(() if row is None else _read_output(row).written, content)
        values["written"] = [[each.size_bytes, each.sha256] for each in written]
    if row is None:
        place = {} if beside is None else asdict(beside)
        claim = {"uri": uri, "export_id": export_id, "created_at": tx.now, **place, **values}
        return Claim.NEW if is_free and tx.insert_new(outputs, [claim]) else Claim.TAKEN
    if row.export_id != export_id:
        if beside is None or (row.media_id, row.series) != (beside.media_id, beside.series):
            return Claim.TAKEN
        if row.export_id > export_id:
            return Claim.NEWER
    tx.execute(sa.update(outputs).where(outputs.c.uri == uri).values(export_id=export_id, **values))
    return Claim.OURS


def list_superseded(tx: Tx, export_id: str, run_id: str, series: str, after: str) -> list[Superseded]:
    """Return the next files after the address `after` that earlier exports of the series left beside a run's media."""
    media_ids = sa.select(run_items.c.media_id).where(run_items.c.run_id == run_id)
    its = outputs.c.media_id.in_(media_ids), outputs.c.series == series
    earlier = outputs.c.export_id < export_id, outputs.c.uri > after
    chosen = sa.select(outputs).where(*its, *earlier).order_by(outputs.c.uri).limit(_PAGE)
    rows = models_of(_StoredOutput, tx.all(chosen))
    return [Superseded(row.uri, _read_output(row), row.connector_id, row.key) for row in rows]


def _read_output(row: _StoredOutput) -> Output:
    return Output(row.export_id, tuple(Written(*each) for each in row.written or ()))
