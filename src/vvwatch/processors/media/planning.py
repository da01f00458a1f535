"""Turns a survey into a plan: the cuts of the media, and what extraction needs to know."""

from __future__ import annotations

from typing import Final

from vvwatch.core.media import Plan, RunSettings
from vvwatch.core.segments import plan_spans
from vvwatch.processors.media import measurements as measure
from vvwatch.processors.media.findings import Survey
from vvwatch.processors.media.opening import Medium
from vvwatch.processors.media.probing import probe_from_survey

_KEPT_SHOTS: Final = 20_000


def make_plan(medium: Medium, found: Survey, settings: RunSettings) -> Plan:
    """Return the cuts of `medium` that `settings` ask for, and its shot changes: of too many, the strongest.

    Raises ValueError for `fixed` segments without a length.
    """
    probe = probe_from_survey(medium, found)
    shots = measure.find_shot_changes(found.pictures) if found.pictures else ()
    silences = found.sounds.silences if found.sounds else []
    spans = plan_spans(probe.media_type, found.duration_seconds, settings, shots, silences)
    strongest = sorted(shots, key=lambda shot: -shot.strength)[:_KEPT_SHOTS]
    return Plan(
        spans=tuple((span.start_time, span.end_time) for span in spans),
        damage=found.damage,
        warnings=(*medium.warnings, *found.warnings),
        probe=probe,
        shots=tuple(sorted(round(shot.at_seconds, 3) for shot in strongest)),
        sound_track=found.sound.index if found.sound else None,
    )
