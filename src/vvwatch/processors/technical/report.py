"""Turns a survey into results: metadata by the technical prompt's schemas, and a sentence for people."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from vvwatch.core.media import Probe, ProcessingResult, RunSettings, Segment
from vvwatch.core.segments import Boundary, Span, plan_spans
from vvwatch.processors.media import measurements as measure
from vvwatch.processors.media.findings import Survey
from vvwatch.processors.media.measurements import Pictures, Sounds

_OPENINGS: Final = {
    "start": "From the start",
    "cut": "Opened by a cut",
    "dissolve": "Opened by a dissolve",
    "silence": "Opened by a silence",
    "interval": "After a fixed length",
    "length": "After the longest length",
}


def build_result(
    probe: Probe, survey: Survey, settings: RunSettings, warnings: tuple[str, ...]
) -> ProcessingResult:
    """Return the segments that `settings` ask for with their measurements, and those of the whole.

    Raises ValueError for `fixed` segments without a length.
    """
    shots = measure.find_shot_changes(survey.pictures) if survey.pictures else ()
    silences = survey.sounds.silences if survey.sounds else []
    spans = plan_spans(probe.media_type, survey.duration_seconds, settings, shots, silences)
    metadata = _measure_whole(probe, survey, shots, len(spans))
    return ProcessingResult(
        segments=tuple(_build_segment(survey, span, shots) for span in spans),
        metadata=metadata,
        metadata_text=_describe_whole(metadata),
        damage=survey.damage,
        warnings=(*warnings, *survey.warnings),
        probe=probe,
    )


def _build_segment(survey: Survey, span: Span, shots: Sequence[Boundary]) -> Segment:
    # A picture has no duration, but it still gives one segment.
    until = span.end_time if span.end_time > span.start_time else span.start_time + 1
    metadata = {
        "opened_by": span.opened_by,
        "scene_score": None if span.strength is None else round(span.strength, 1),
        "shot_changes": _count_shots(span, shots),
        **_measure_pictures(survey.pictures, span.start_time, until),
        **_measure_sounds(survey.sounds, span.start_time, until),
    }
    return Segment(span.start_time, span.end_time, metadata, _describe_segment(span, metadata))


def _count_shots(span: Span, shots: Sequence[Boundary]) -> int:
    # Spans begin at whole milliseconds, so the shot that opens one may start slightly later.
    first = bisect_right(shots, span.start_time + 0.001, key=lambda shot: shot.at_seconds)
    last = bisect_left(shots, span.end_time, key=lambda shot: shot.at_seconds)
    return max(0, last - first)


def _measure_pictures(pictures: Pictures | None, start: float, end: float) -> dict[str, float | None]:
    series = pictures or Pictures()
    return {
        "mean_luma": measure.mean_luma(series, start, end),
        "black_ratio": measure.black_ratio(series, start, end),
        "frozen_ratio": measure.frozen_ratio(series, start, end),
        "motion": measure.mean_motion(series, start, end),
    }


def _measure_sounds(sounds: Sounds | None, start: float, end: float) -> dict[str, float | None]:
    return {
        "loudness_lufs": measure.integrated_loudness(sounds, start, end) if sounds else None,
        "silence_ratio": measure.silence_ratio(sounds, start, end) if sounds else None,
    }


def _measure_whole(probe: Probe, survey: Survey, shots: Sequence[Boundary], segments: int) -> dict[str, Any]:
    sounds, end = survey.sounds, survey.duration_seconds
    said = {name: value for name, value in asdict(probe).items() if name != "damage"}
    return {
        "probe": said,
        "loudness": {
            "integrated_lufs": measure.integrated_loudness(sounds, 0, end) if sounds else None,
            "range_lu": sounds.range_lu if sounds else None,
            "true_peak_dbtp": measure.peak_dbtp(sounds) if sounds else None,
            "silence_ratio": measure.silence_ratio(sounds, 0, end) if sounds else None,
        },
        "counts": {
            "segments": segments,
            "cuts": sum(shot.cause == "cut" for shot in shots),
            "dissolves": sum(shot.cause == "dissolve" for shot in shots),
            "silences": len(sounds.silences) if sounds else 0,
        },
        "tracks": list(survey.tracks),
        "analysed_seconds": survey.duration_seconds,
        "damage": list(survey.damage),
    }


def _describe_segment(span: Span, metadata: dict[str, Any]) -> str:
    score = metadata["scene_score"]
    opening = _OPENINGS[span.opened_by] + (f" of strength {score:g}" if score is not None else "")
    parts = [
        _format_measure(metadata["shot_changes"] or None, "{:d} shot changes"),
        _format_measure(metadata["mean_luma"], "brightness {:g}"),
        _format_measure(metadata["motion"], "motion {:g} %"),
        _format_measure(metadata["black_ratio"] or None, "{:.0%} black"),
        _format_measure(metadata["frozen_ratio"] or None, "{:.0%} still"),
        _format_measure(metadata["loudness_lufs"], "loudness {:g} LUFS"),
        _format_measure(metadata["silence_ratio"] or None, "{:.0%} silent"),
    ]
    return f"{opening}: {', '.join(filter(None, parts)) or 'nothing to measure'}."


def _describe_whole(metadata: dict[str, Any]) -> str:
    probe, counts, loudness = metadata["probe"], metadata["counts"], metadata["loudness"]
    parts = [
        f"{probe['media_type'].capitalize()} ({probe['container']})",
        _format_measure(probe["duration_seconds"], "{:g} s"),
        _format_measure(probe["width"], "{:d}x" + str(probe["height"])),
        _format_measure(probe["video_codec"], "pictures {}"),
        _format_measure(probe["audio_codec"], "sound {}"),
        _format_measure(loudness["integrated_lufs"], "loudness {:g} LUFS"),
        f"segments {counts['segments']}",
        _format_measure(counts["cuts"] or None, "cuts {}"),
        _format_measure(counts["dissolves"] or None, "dissolves {}"),
        _format_measure(counts["silences"] or None, "silences {}"),
    ]
    damage = metadata["damage"]
    return ", ".join(filter(None, parts)) + "." + (f" Damaged: {'; '.join(damage)}." if damage else "")


def _format_measure(value: object, form: str) -> str:
    return "" if value is None else form.format(value)
