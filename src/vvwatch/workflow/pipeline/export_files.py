"""Build the files of an export with options, one after the other: those of its runs, and those of their items.

All of it blocks and belongs in a worker thread; the database is read page by page from there. The bytes and the names
of a file depend only on the database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final

import anyio.from_thread

from vvwatch import private_files
from vvwatch.core.events import canonical_json, to_iso
from vvwatch.core.export_names import NameFields, build_name, failures_name, sidecar_names
from vvwatch.core.exports import JSON, ExportOptions
from vvwatch.extras import require_extra
from vvwatch.formats.comma_separated import write_csv
from vvwatch.formats.items import ExportedItem, Format, NotApplicable, Scope
from vvwatch.formats.json_lines import write_json_lines
from vvwatch.formats.parquet import write_parquet
from vvwatch.formats.registry import FORMATS
from vvwatch.formats.rows import FAILURE_COLUMNS, batch_rows
from vvwatch.formats.timing import timing_of
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.delivery import exports
from vvwatch.store.delivery.export_failures import list_failures
from vvwatch.store.delivery.exports import ExportWork
from vvwatch.store.models.delivery import ExportedRun
from vvwatch.store.models.runs import RunItemWithMedia, SegmentResult
from vvwatch.store.runs.transcripts import NOTHING_KNOWN, Said, load_said
from vvwatch.workflow.pipeline import artifact

FAILURES: Final = "failures"
"""In place of an ext: the file of a run's failures."""

_ITEMS_PER_PAGE: Final = 50
_SEGMENTS_PER_PAGE: Final = 2_000
_FAILURE_NAMES: Final = [column.name for column in FAILURE_COLUMNS]
_TABLES: Final[Mapping[str, Callable[..., None]]] = {
    "csv": write_csv,
    "jsonl": write_json_lines,
    "parquet": write_parquet,
}
"""The formats in which failures have a table of their own."""


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """A complete local file. `beside`: the media item whose folder it goes to, None for the destination.

    `spare_name` is taken beside a media item if something else has `name`.
    """

    path: Path
    name: str
    format: str
    content_type: str
    size_bytes: int
    sha256: str
    beside: RunItemWithMedia | None = None
    spare_name: str = ""

    def describe(self) -> dict[str, Any]:
        """Return what the manifest says of the file."""
        return {
            "name": self.name,
            "format": self.format,
            "content_type": self.content_type,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not part of the export, and why. Without a media item it was one of a whole run."""

    run_id: str
    video_id: str | None
    key: str | None
    format: str
    why: str


LoadedItem = tuple[RunItemWithMedia, Sequence[SegmentResult], Said]
"""A run item, its segments, and what is said in it."""


class FileBuilder:
    """Builds the files of one export in `folder`, where their names begin with the export's id."""

    def __init__(self, database: Database, work: ExportWork, options: ExportOptions, folder: Path) -> None:
        self._database = database
        self._work = work
        self._options = options
        self._folder = folder
        formats = [_JSON if name == JSON else FORMATS[name] for name in options.formats]
        self._of_run = [each for each in formats if each.scope is Scope.RUN and options.files == "run"]
        self._of_item = [each for each in formats if each not in self._of_run]
        self._count = 0

    def build(self) -> Iterator[BuiltFile | LeftOut]:
        """Yield the files, in the same order each time.

        Raises as the database does, and InvalidInput for a format that is not installed on this node.
        """
        for each in (*self._of_run, *self._of_item):
            require_extra(each.extra, f"the format {each.name!r}")
        for run in self._work.runs:
            for each in self._of_run:
                yield self._build(run, each, self._iter_items(run), None)
            if self._of_item:
                for row, item in self._iter_rows(run):
                    for each in self._of_item:
                        yield self._build(run, each, iter([item]), row)
            yield from self._build_failures(run)

    def _build(
        self, run: ExportedRun, kind: Format, items: Iterator[ExportedItem], row: RunItemWithMedia | None
    ) -> BuiltFile | LeftOut:
        def write(file: BinaryIO) -> None:
            if kind is _JSON:
                failures = self._iter_failures(run) if row is None else _failure_of(run, row)
                head = artifact.document_head(self._work.export, [run])
                _write_document(file, head, items, failures, pretty=self._options.pretty)
            else:
                kind.write(file, items)

        try:
            return self._write(run, kind, _ext_of(kind), write, row)
        except NotApplicable as reason:
            video_id, key = (row.media_id, row.media_key) if row else (None, None)
            return LeftOut(run.id, video_id, key, kind.name, str(reason))

    def _build_failures(self, run: ExportedRun) -> Iterator[BuiltFile]:
        """Yield a file of the failed and skipped files for each table, and for documents of single items."""
        for name in self._options.formats:
            remaining = self._iter_failures(run)
            if (first := next(remaining, None)) is None:
                return
            failures = chain([first], remaining)
            if table := _TABLES.get(name):
                kind = FORMATS[name]
                batches = batch_rows([failure[name] for name in _FAILURE_NAMES] for failure in failures)
                write = partial(table, columns=FAILURE_COLUMNS, batches=batches)
                yield self._write(run, kind, FAILURES, write)
            elif name == JSON and _JSON in self._of_item:
                head, pretty = artifact.document_head(self._work.export, [run]), self._options.pretty
                write = partial(_write_document, head=head, items=iter(()), failures=failures, pretty=pretty)
                yield self._write(run, _JSON, FAILURES, write)

    def _write(
        self,
        run: ExportedRun,
        kind: Format,
        ext: str,
        write: Callable[[BinaryIO], None],
        row: RunItemWithMedia | None = None,
    ) -> BuiltFile:
        name, spare, beside = self._name(run, kind, ext, row)
        self._count += 1
        path = self._folder / f"{self._work.export.id}.{self._count}.draft"
        try:
            with open(path, "wb", opener=lambda path, _: private_files.recreate_private(Path(path))) as file:
                write(file)
            size_bytes, digest = measure_file(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return BuiltFile(path, name, kind.name, kind.content_type, size_bytes, digest, beside, spare)

    def _name(
        self, run: ExportedRun, kind: Format, ext: str, row: RunItemWithMedia | None
    ) -> tuple[str, str, RunItemWithMedia | None]:
        export = self._work.export
        of = NameFields(
            export_id=export.id,
            index_id=run.index_id or "no_index",
            run_id=run.id,
            prompt_id=run.prompt_id,
            date=to_iso(export.created_at)[:10],
            only_run=export.run_id is not None,
            key=row.media_key if row else None,
            item_id=row.id if row else 0,
        )
        if ext == FAILURES:
            return failures_name(of, kind.suffix.removeprefix(".")), "", None
        if row is None or not self._options.sidecars:
            return build_name(self._options.name, of, kind.name, ext), "", None
        names = sidecar_names(of, ext)
        if names is None:
            raise NotApplicable(f"the name of the source is too long for one that ends with .{ext}")
        return *names, row

    def _iter_items(self, run: ExportedRun) -> Iterator[ExportedItem]:
        return (item for _, item in self._iter_rows(run))

    def _iter_rows(self, run: ExportedRun) -> Iterator[tuple[RunItemWithMedia, ExportedItem]]:
        document, after = artifact.run_document(run), 0
        while page := anyio.from_thread.run(self._database.read, load_page, run.id, after):
            for row, segments, said in page:
                found = artifact.media_document(run, row, segments, said)
                yield row, ExportedItem(found, document, said.transcript, timing_of(row.media_probe))
            after = page[-1][0].id

    def _iter_failures(self, run: ExportedRun) -> Iterator[dict[str, Any]]:
        for stage in ("import", "processing"):
            after = 0
            while page := anyio.from_thread.run(self._database.read, list_failures, run, stage, after):
                yield from (failure for _, failure in page)
                after = page[-1][0]


def load_page(tx: Tx, run_id: str, after: int) -> list[LoadedItem]:
    """Return the next items with their segments: at least one item, and few segments in all."""
    page: list[LoadedItem] = []
    segments = 0
    for row in exports.list_items(tx, run_id, after, _ITEMS_PER_PAGE):
        segments += row.segment_count
        if page and segments > _SEGMENTS_PER_PAGE:
            break
        said = load_said(tx, [row.id]).get(row.id, NOTHING_KNOWN)
        page.append((row, exports.list_segments(tx, row.id), said))
    return page


def measure_file(path: Path) -> tuple[int, str]:
    """Return the size of a local file and its SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def _failure_of(run: ExportedRun, row: RunItemWithMedia) -> Iterator[dict[str, Any]]:
    """Yield the failure of one item, if it failed."""
    if row.status in {"failed", "cancelled"}:
        values = (run.id, "processing", row.status, row.media_id, row.media_key, row.media_version)
        yield dict(zip(_FAILURE_NAMES, (*values, row.error_code, row.error_message), strict=True))


def _ext_of(kind: Format) -> str:
    """Return the end of the name without its dot; of two formats with one suffix each says its own name before it."""
    shared = sum(each.suffix == kind.suffix for each in (_JSON, *FORMATS.values())) > 1
    return f"{kind.name}{kind.suffix}" if shared else kind.suffix.removeprefix(".")


def _write_document(
    file: BinaryIO,
    head: Mapping[str, Any],
    items: Iterator[ExportedItem],
    failures: Iterator[Mapping[str, Any]],
    *,
    pretty: bool,
) -> None:
    """Write the JSON document element by element; `failures` come last."""
    dump = _dump_pretty if pretty else canonical_json
    separator, close, end = (b",\n    ", b"\n  ]", b"\n}\n") if pretty else (b",", b"]", b"}\n")
    file.write(dump(head)[: -2 if pretty else -1])
    for name, elements in (("media", (item.document for item in items)), ("failures", failures)):
        file.write(b',\n  "%s": [' % name.encode() if pretty else b',"%s":[' % name.encode())
        found = False
        for element in elements:
            data = dump(element).replace(b"\n", b"\n    ") if pretty else dump(element)
            file.write((separator if found else separator[1:]) + data)
            found = True
        file.write(close if found else b"]")
    file.write(end)


def _dump_pretty(value: Any) -> bytes:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace")


def _write_nothing(_file: BinaryIO, _items: Iterable[ExportedItem]) -> None:
    """The document is written with what its format is not given: see `FileBuilder`."""


_JSON: Final = Format(JSON, ".json", "application/json", Scope.RUN, _write_nothing)
