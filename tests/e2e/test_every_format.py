"""A folder with captions, sidecars, speech, music and facts ends in every format, as each one's own reader reads it.

Times and texts are equal in all of them, at all rates that editors count timecodes at.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import duckdb
import jsonschema
import opentimelineio as otio
import pycmx
import pytest
from av.video.frame import PictureType

from tests import samples
from tests.daemon_process import Daemon, wait_until
from tests.e2e.conftest import Make
from tests.formats.test_captions import milliseconds, read_srt, read_vtt
from tests.formats.test_timelines import fcpxml_clips, resolve_markers
from tests.processors.captioned import Track, add_captions
from tests.speech import model_dir, speak
from vvwatch.core.timecode import Counting
from vvwatch.formats.registry import FORMATS
from vvwatch.formats.texts import first_line
from vvwatch.processors.media.sample_clips import generate_pattern
from vvwatch.workflow.pipeline.artifact_schema import json_schema

FILMS: Mapping[str, tuple[str, str | None]] = {
    "film.mov": ("24000/1001", "10:00:00:23"),
    "captions.mp4": ("25", None),
    "pal.mov": ("25", "09:59:58:24"),
    "drop.mov": ("30000/1001", "00:59:59;28"),
    "fifty.mov": ("50", "10:00:00:49"),
    "fast.mov": ("60000/1001", "00:59:59;59"),
}
"""Rate and timecode of the first frame. Each lasts four seconds, with a cut in the middle."""

SAID: Mapping[str, list[tuple[int, int, str]]] = {
    "captions": [(200, 900, "In the file."), (1000, 1900, "It <goes> on")],
    "drop": [(0, 1500, "Beside it & more")],
    "fifty": [(400, 2600, "Two\nlines")],
}
"""The captions of the films: milliseconds, and the text."""

VOICE = "Good evening. This is the weather forecast for tomorrow."
FACTS = {"director": "Ada", "takes": [1, 2]}
TABLES = ("json", "jsonl", "csv", "parquet")
Clip = tuple[int, int, int, str]


def write_film(path: Path, rate: str, timecode: str | None) -> Path:
    """Two seconds of one pattern and one of another."""
    ticks = Fraction(rate)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=ticks)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        stream.codec_context.time_base = 1 / ticks
        stream.metadata.update({"timecode": timecode} if timecode else {})
        first, second = (generate_pattern(each, (160, 90), 25) for each in ("testsrc2", "smptebars"))
        for number in range(round(4 * ticks)):
            frame = next(first if number < 2 * ticks else second)
            frame.pts, frame.time_base, frame.pict_type = number, 1 / ticks, PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_captions(separator: str, cues: list[tuple[int, int, str]]) -> str:
    def stamp(at: int) -> str:
        return f"00:00:{at // 1000:02}{separator}{at % 1000:03}"

    return "".join(f"{n}\n{stamp(a)} --> {stamp(b)}\n{text}\n\n" for n, (a, b, text) in enumerate(cues, 1))


def fill(folder: Path, elsewhere: Path) -> None:
    for name, (rate, timecode) in FILMS.items():
        if name != "captions.mp4":
            write_film(folder / name, rate, timecode)
    cues = [(start / 1000, end / 1000, text) for start, end, text in SAID["captions"]]
    film = write_film(elsewhere / "film.mp4", *FILMS["captions.mp4"])
    add_captions(film, folder / "captions.mp4", Track("mov_text", cues, "eng"))
    (folder / "drop.en-US.srt").write_text(make_captions(",", SAID["drop"]))
    (folder / "fifty.vtt").write_text("WEBVTT\n\n" + make_captions(".", SAID["fifty"]).replace("&", "&amp;"))
    (folder / "drop.json").write_text(json.dumps(FACTS))
    speak(VOICE, folder / "speech.wav")
    samples.audio(folder / "music.wav", 2)
    samples.image(folder / "picture.png")


@dataclass(frozen=True)
class Results:
    """What was exported: the document, the tables, and the files of the items by name and format."""

    items: dict[str, Any]
    tables: dict[str, Path]
    files: dict[tuple[str, str], bytes]
    left_out: dict[tuple[str, str], str]


def read_results(daemon: Daemon) -> Results:
    [path] = daemon.outgoing.rglob("manifest.json")
    assert (path.parent / "_SUCCESS").read_bytes() == b""
    manifest = json.loads(path.read_bytes())
    found = {each["name"]: each["format"] for each in manifest["files"]}
    paths = {daemon.outgoing / name: kind for name, kind in found.items() if "failures" not in name}
    tables = {kind: path for path, kind in paths.items() if kind in TABLES}
    document = json.loads(tables["json"].read_bytes())
    jsonschema.validate(document, json_schema())
    return Results(
        {item["video"]["key"]: item for item in document["media"]},
        tables,
        {
            (path.name.partition("-")[0], kind): path.read_bytes()
            for path, kind in paths.items()
            if kind not in TABLES
        },
        {(each["key"], each["format"]): each["why"] for each in manifest["left_out"]},
    )


@pytest.mark.timeout(180)
def test_a_folder_ends_in_every_format_and_each_reader_reads_the_same(make: Make, tmp_path: Path) -> None:
    daemon = make(
        automation='facts = ["sidecar"]\npath_fields = "{name}.{*}"',
        export=f"formats = {json.dumps(['json', *FORMATS])}\nlatest = true",
        extra=f'[transcription.speech]\nmodel_dir = "{model_dir()}"\n',
        debounce="2s",
    )
    (elsewhere := tmp_path / "elsewhere").mkdir()
    fill(daemon.incoming, elsewhere)
    exported = "select count(*) from exports where completed_at is not null"
    with daemon:
        wait_until(lambda: daemon.rows(exported) == [(1,)], "the export", seconds=150)
        assert daemon.stop() == 0
    results = read_results(daemon)
    assert set(results.items) == {*FILMS, "speech.wav", "music.wav", "picture.png"}
    check_facts(results)
    check_transcription(results)
    check_tables(results)
    for key, item in results.items.items():
        check_captions(results, key, item)
        check_timelines(results, key, item)
    written = {kind for _, kind in results.files} | set(results.tables)
    assert written == {"json", *FORMATS}
    assert json.loads((daemon.outgoing / "results/latest.json").read_bytes())["run_id"]


def check_facts(results: Results) -> None:
    for key, item in results.items.items():
        facts = item["video"]["facts"]
        assert facts["path"] == {"name": Path(key).stem}
        sidecar = {"key": "drop.json", "fields": FACTS} if key == "drop.mov" else None
        assert facts.get("sidecar") == sidecar


def check_transcription(results: Results) -> None:
    """It is true exactly where there is a transcript; elsewhere each source says why it has none."""
    outcomes = {
        key: {
            (segment["transcription_succeeded"], segment["transcription_error"])
            for segment in item["segments"]
        }
        for key, item in results.items.items()
    }
    for key in ("captions.mp4", "drop.mov", "fifty.mov", "speech.wav", "music.wav"):
        assert outcomes[key] == {(True, None)}
        sources = {segment["transcript"]["source"] for segment in results.items[key]["segments"]}
        assert sources == {
            "embedded" if key == "captions.mp4" else "speech" if key.endswith("wav") else "sidecar"
        }
    assert outcomes["picture.png"] == {(None, None)}
    for key in ("film.mov", "pal.mov", "fast.mov"):
        [(succeeded, why)] = outcomes[key]
        assert succeeded is False
        for reason in ("embedded: no caption track", "sidecar: no captions beside it", "speech: "):
            assert reason in why
        assert {segment["transcript"] for segment in results.items[key]["segments"]} == {None}
    text = " ".join(segment["transcript"]["text"] for segment in results.items["speech.wav"]["segments"])
    assert "weather forecast for tomorrow" in text.lower()
    assert {segment["transcript"]["text"] for segment in results.items["music.wav"]["segments"]} == {""}


def check_tables(results: Results) -> None:
    """Every row of each table says of its segment what the document says."""
    wanted = sorted(
        (key, segment["start_time"], segment["end_time"], (segment["transcript"] or {}).get("text") or "")
        for key, item in results.items.items()
        for segment in item["segments"]
    )
    assert len([row for row in wanted if row[0] == "film.mov"]) == 2
    lines = [json.loads(line) for line in results.tables["jsonl"].read_bytes().splitlines()]
    text = results.tables["csv"].read_bytes().decode()
    columns = "key, start_time, end_time, transcript, result_type, facts"
    with duckdb.connect() as connection:
        parquet = connection.sql(f"select {columns} from '{results.tables['parquet']}'").fetchall()
    names = columns.split(", ")
    for rows in (
        [each | {"transcript": (each.get("transcript") or {}).get("text")} for each in lines],
        list(csv.DictReader(io.StringIO(text, newline=""))),
        [dict(zip(names, row, strict=True)) for row in parquet],
    ):
        segments = [each for each in rows if each["result_type"] == "segment"]
        found = [
            (each["key"], float(each["start_time"]), float(each["end_time"]), each["transcript"] or "")
            for each in segments
        ]
        assert sorted(found) == wanted
        assert len(rows) - len(segments) == len(results.items)
        facts = {
            each["facts"] if isinstance(each["facts"], str) else json.dumps(each["facts"]) for each in rows
        }
        assert any(json.loads(each).get("sidecar") for each in facts)


def check_captions(results: Results, key: str, item: Any) -> None:
    stem = Path(key).stem
    captions = [results.files.get((stem, kind)) for kind in ("vtt", "srt")]
    if stem == "speech":
        assert captions[0] is not None
        assert captions[1] is not None
        cues = read_vtt(captions[0])
        assert cues == read_srt(captions[1])
        said = " ".join(text for _, _, text in cues).lower()
        assert "weather forecast for tomorrow" in said
    elif stem in SAID:
        assert captions[0] is not None
        assert captions[1] is not None
        assert read_vtt(captions[0]) == SAID[stem]
        shown = [(start, end, text.replace("\u2060", "")) for start, end, text in read_srt(captions[1])]
        assert shown == SAID[stem]
    else:
        assert captions == [None, None]
        empty = "its transcript is empty" if stem == "music" else "it has no transcript"
        assert {results.left_out[key, kind] for kind in ("vtt", "srt")} == {empty}
    if stem == "picture":
        assert results.left_out[key, "chapters"] == "a picture has no chapters"
        return
    assert read_vtt(results.files[stem, "chapters"]) == [
        (
            milliseconds(f"0:0:{segment['start_time']}"),
            milliseconds(f"0:0:{segment['end_time']}"),
            first_line(segment["metadata_text"]) or f"Segment {number}",
        )
        for number, segment in enumerate(item["segments"], 1)
    ]


def expect_clips(key: str, item: Any) -> tuple[Counting, list[Clip]]:
    """The clips in frames: start in the source, length, start in the record, text of the marker."""
    rate, timecode = FILMS.get(key, ("25", None))
    counting = Counting(Fraction(rate), ";" in (timecode or ""))
    first = record = counting.parse(timecode) if timecode else 0
    clips = []
    for number, segment in enumerate(item["segments"], 1):
        start, end = (round(segment[name] * Fraction(rate)) for name in ("start_time", "end_time"))
        length = 125 if key == "picture.png" else max(end - start, 1)
        title = first_line(segment["metadata_text"]) or f"Segment {number}"
        clips.append((first + start, length, record, title))
        record += length
    return counting, clips


def check_timelines(results: Results, key: str, item: Any) -> None:
    counting, clips = expect_clips(key, item)
    stem = Path(key).stem
    readers: dict[str, Callable[[str], Iterator[Clip]]] = {
        "otio": lambda text: otio_clips(otio.adapters.read_from_string(text, "otio_json")),
        "edl": lambda text: pycmx_clips(text, counting),
        "fcp7": lambda text: otio_clips(otio.adapters.read_from_string(text, "fcp_xml")),
        "fcpxml": lambda text: fcpxml_clips(text, 1 / counting.rate),
    }
    texts = {kind: results.files[stem, kind].decode() for kind in (*readers, "edl_resolve")}
    if key == "picture.png":
        del readers["fcpxml"]  # a still has no frames there
    for kind, read in readers.items():
        assert list(read(texts[kind])) == clips, (key, kind)
    markers = list(resolve_markers(texts["edl_resolve"], counting))
    assert markers == [(start, length, title) for start, length, _, title in clips]
    edl: Any = otio.adapters.read_from_string(texts["edl"], "cmx_3600", rate=float(counting.rate))
    spans = [(each.source_range.start_time.value, each.source_range.duration.value) for each in edl.tracks[0]]
    assert spans == [(start, length) for start, length, _, _ in clips]
    if counting.rate.denominator == 1 and key != "picture.png":  # the adapter knows no other rates
        found: Any = otio.adapters.read_from_string(texts["fcpxml"], "fcpx_xml")
        titles = [each.markers[0].name for each in found.find_clips() if each.markers]
        assert titles == [title for *_, title in clips]


def otio_clips(timeline: Any) -> Iterator[Clip]:
    track, *sound = [each for each in timeline.tracks if len(each)]
    for other in sound:
        assert [each.source_range for each in other] == [each.source_range for each in track]
        assert [each.range_in_parent() for each in other] == [each.range_in_parent() for each in track]
    record = (timeline.global_start_time or otio.opentime.RationalTime()).value
    for clip in track:
        place = clip.source_range
        at = record + clip.range_in_parent().start_time.value
        yield int(place.start_time.value), int(place.duration.value), int(at), clip.markers[0].name


def pycmx_clips(text: str, counting: Counting) -> Iterator[Clip]:
    for event in pycmx.parse_cmx3600(io.StringIO(text)).events:
        [edit] = event.edits
        start, end = counting.parse(edit.source_in), counting.parse(edit.source_out)
        remarks = "\n".join(getattr(statement, "text", "") for statement in event.statements)
        marker = re.search(r"LOC: (\S+) GREEN   (.*)", remarks)
        assert marker
        assert counting.parse(marker[1]) == counting.parse(edit.record_in)
        yield start, end - start, counting.parse(edit.record_in), marker[2]
