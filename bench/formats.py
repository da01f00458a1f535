"""What the formats of exports cost: CPU seconds for 100,000 segments, and whether memory grows with their number.

Usage: python bench/formats.py [--segments N] [--formats NAME ...] [--rounds N]

Each format writes N segments (100,000) that are in memory before, in a process of its own: one item, or a thousand
segments an item where a format takes a whole run; an EDL holds 999, so it is written as often as needed. The median of
the rounds counts. Then it writes N / 10 and N segments that are made while it reads them: the peak of resident memory
of both. The exit status is 1 over one CPU second per 100,000 segments, or where memory grows.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from vvwatch.core.transcripts import Cue, Transcript, TranscriptSource
from vvwatch.formats.items import ExportedItem, Format, Scope
from vvwatch.formats.registry import FORMATS
from vvwatch.formats.timing import timing_of

BAR_SECONDS = 1.0
BAR_MIB = 16.0
AN_ITEM = 1_000
AN_EDL = 999
SECONDS_A_SEGMENT = 0.8
SCHEMA = {
    "type": "object",
    "properties": {"subject": {"type": "string"}, "people": {"type": "integer"}, "mood": {"type": "string"}},
}
RESULT = {
    "run_id": "run_1",
    "prompt_id": "prm_1",
    "video_id": "vid_1",
    "video_name": "interview_01.mov",
    "source_index_id": "idx_1",
    "executed_at": "2026-09-21T14:18:20.250Z",
}


class Made(Sequence[Any]):
    """Elements that are made when they are read, and not kept."""

    def __init__(self, count: int, make: Any) -> None:
        self._count = count
        self._make = make

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return map(self._make, range(self._count))

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._make(range(self._count)[index])


def make_segment(number: int) -> dict[str, Any]:
    special = " & <Zürich>" if number % 10 == 0 else ""
    return {
        "result_type": "segment",
        "result_id": f"segment:seg_{number}:run_1",
        "segment_id": f"seg_{number}",
        **RESULT,
        "start_time": round(number * SECONDS_A_SEGMENT, 3),
        "end_time": round((number + 1) * SECONDS_A_SEGMENT, 3),
        "metadata": {"subject": f"harbour {number}", "people": number % 7, "mood": "calm"},
        "metadata_text": f"subject: harbour {number}{special}\npeople: {number % 7}\nmood: calm",
        "processing_warning": None,
        "field_extraction_succeeded": True,
        "field_extraction_error": None,
    }


def make_cue(number: int) -> Cue:
    special = " & so on" if number % 10 == 0 else ""
    return Cue(
        number * SECONDS_A_SEGMENT,
        (number + 1) * SECONDS_A_SEGMENT,
        f"What was said, line {number}{special}.",
    )


def make_item(segments: Sequence[Any], cues: Any) -> ExportedItem:
    probe = {
        "media_type": "video",
        "frame_rate_exact": "30000/1001",
        "start_timecode": "00:00:00;00",
        "audio_codec": "aac",
        "channels": 2,
    }
    video = {
        "video_id": "vid_1",
        "title": "interview_01.mov",
        "key": "day 1/interview_01.mov",
        "video_uri": "s3://bucket/day 1/interview_01.mov",
        "connector_id": "conn_1",
        "version": "1",
        "media_type": "video",
        "duration_seconds": len(segments) * SECONDS_A_SEGMENT,
        "probe": probe,
    }
    whole: dict[str, Any] = {
        "result_type": "video",
        "result_id": "video:vid_1:run_1",
        **RESULT,
        "status": "completed",
        "metadata": {},
        "metadata_text": "",
        "successful_segment_count": len(segments),
        "failed_segment_count": 0,
        "error_code": None,
        "error_message": None,
    }
    return ExportedItem(
        document={"video": video, "segments": segments, "video_result": whole},
        run={"run_id": "run_1", "json_schema": SCHEMA, "video_level": None},
        transcript=Transcript(TranscriptSource.SIDECAR, "a.srt", "en", cues),
        timing=timing_of(probe),
    )


def split_items(name: str, count: int, *, kept: bool) -> Iterator[ExportedItem]:
    """Yield items with `count` segments in all."""
    most = AN_EDL if name.startswith("edl") else count if FORMATS[name].scope is Scope.ITEM else AN_ITEM
    for first in range(0, count, most):
        size = min(most, count - first)
        segments, cues = Made(size, make_segment), Made(size if name in ("vtt", "srt") else 1, make_cue)
        yield make_item(list(segments), tuple(cues)) if kept else make_item(segments, cues)


def write_all(form: Format, items: Iterator[ExportedItem]) -> tuple[float, int]:
    """Return CPU seconds and bytes."""
    began = time.process_time()
    with tempfile.TemporaryFile() as file:
        if form.scope is Scope.RUN:
            form.write(file, items)
        else:
            for item in items:
                form.write(file, [item])
        return time.process_time() - began, file.tell()


def measure_here(name: str, count: int, *, kept: bool) -> None:
    items = split_items(name, count, kept=kept)
    seconds, size = write_all(FORMATS[name], iter(list(items)) if kept else items)
    peak = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    print(seconds, size, int(peak.split()[1]) / 1024)


def measure(name: str, count: int, *, kept: bool) -> tuple[float, int, float]:
    """Return CPU seconds, bytes and the peak of resident memory in MiB, of a process of its own."""
    command = [sys.executable, __file__, "--child", name, str(count), "kept" if kept else "made"]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, env=dict(os.environ)
    ).stdout.split()
    return float(said[0]), int(said[1]), float(said[2])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        name, count, how = asked.child
        measure_here(name, int(count), kept=how == "kept")
        return
    missed = False
    for name in asked.formats:
        rounds = [measure(name, asked.segments, kept=True) for _ in range(asked.rounds)]
        seconds = statistics.median(each[0] for each in rounds) * 100_000 / asked.segments
        few, many = (measure(name, count, kept=False)[2] for count in (asked.segments // 10, asked.segments))
        is_slow, grows = seconds > BAR_SECONDS, many - few > BAR_MIB
        missed = missed or is_slow or grows
        says = "".join((" TOO SLOW" if is_slow else "", " MEMORY GROWS" if grows else ""))
        print(
            f"{name:12} {seconds:5.2f} CPU s per 100,000 segments, {rounds[0][1] / 1e6:6.1f} MB; "
            f"peak {few:.0f} MiB for {asked.segments // 10:,}, {many:.0f} MiB for {asked.segments:,}{says}"
        )
    sys.exit(missed)


if __name__ == "__main__":
    main()
