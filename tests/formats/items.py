"""Results to export, in the form of the JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

from vvwatch.core.transcripts import Cue, Transcript, TranscriptSource
from vvwatch.formats.items import ExportedItem
from vvwatch.formats.registry import FORMATS
from vvwatch.formats.timing import timing_of

FILM: Mapping[str, Any] = {
    "media_type": "video",
    "duration_seconds": 60.0,
    "width": 1920,
    "height": 1080,
    "frame_rate": 25.0,
    "frame_rate_exact": "25",
    "audio_codec": "aac",
    "sample_rate": 48_000,
    "channels": 2,
}

HARSH_TEXTS = (
    "plain",
    "a < b && c > d",
    "<b>bold</b> <script>alert(1)</script> {\\an8}up",
    "00:00:01.000 --> 00:00:02.000",
    "]]> <![CDATA[ &amp; &#0;",
    "two\nlines",
    "\x00nul \x1b[31mred\x7f\x9f \ufffe",
    "שלום \u202eעולם\u202c العربية",  # noqa: RUF001
    "half \ud83d a pair",
    "“quoted” 'single' \"double\"",
    "| C:Red |D:9",
    "😀 𝄞",
    "x" * 10_000,
)


def segment(start: float, end: float, text: str = "") -> dict[str, Any]:
    return {"start_time": start, "end_time": end, "metadata_text": text, "metadata": {}}


def exported(
    segments: Sequence[Mapping[str, Any]] = (),
    *,
    title: str = "interview_01.mov",
    uri: str | None = None,
    cues: Iterable[Cue] | None = None,
    **probe: Any,
) -> ExportedItem:
    """An item of 25 frames a second unless `probe` says otherwise."""
    known = {**FILM, **probe}
    video = {
        "video_id": "vid_1",
        "title": title,
        "key": f"day 1/{title}",
        "video_uri": uri or f"file:///in/day%201/{title}",
        "media_type": known["media_type"],
        "duration_seconds": known["duration_seconds"],
        "probe": known,
    }
    transcript = None if cues is None else Transcript(TranscriptSource.SIDECAR, "a.srt", "en", tuple(cues))
    document = {"video": video, "segments": list(segments), "video_result": {}}
    return ExportedItem(document, {"run_id": "run_1"}, transcript, timing_of(known))


def written(name: str, item: ExportedItem) -> bytes:
    file = BytesIO()
    FORMATS[name].write(file, [item])
    return file.getvalue()
