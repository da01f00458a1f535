"""Where media is cut: gapless rows of spans within their bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.media import RunSettings
from vvwatch.core.segments import Boundary, Silence, Span, plan_spans, snap_boundaries

SMART = RunSettings()
CONTENT_AWARE = RunSettings(video_segmentation_type="content_aware")

durations = st.floats(0.001, 20_000, allow_nan=False)
moments = st.floats(0, 20_000, allow_nan=False)
shots_lists = st.lists(
    st.builds(Boundary, moments, st.sampled_from(["cut", "dissolve"]), st.floats(0, 100)), max_size=60
).map(sorted)
silence_lists = st.lists(
    st.tuples(moments, st.floats(0.7, 500)).map(lambda s: Silence(s[0], s[0] + s[1])), max_size=30
)
settings_of_any_kind = st.builds(
    RunSettings,
    video_segmentation_type=st.sampled_from(["smart", "content_aware", "fixed"]),
    video_segment_duration=st.integers(1, 300),
    audio_segmentation_type=st.sampled_from(["content_aware", "fixed"]),
    audio_segment_duration=st.integers(1, 300),
)


def cut(at: float, strength: float = 20.0) -> Boundary:
    return Boundary(at, "cut", strength)


def edges(spans: tuple[Span, ...]) -> list[float]:
    return [*(span.start_time for span in spans), spans[-1].end_time]


@given(st.sampled_from(["video", "audio"]), durations, settings_of_any_kind, shots_lists, silence_lists)
def test_segments_tile_the_whole_without_gap_or_overlap(
    media_type: str,
    duration: float,
    settings: RunSettings,
    shots: list[Boundary],
    silences: list[Silence],
) -> None:
    spans = plan_spans(media_type, duration, settings, shots, silences)

    assert spans[0].start_time == 0
    assert spans[-1].end_time == round(duration, 3)
    assert all(earlier.end_time == later.start_time for earlier, later in pairwise(spans))
    assert all(span.end_time > span.start_time for span in spans) or len(spans) == 1


@given(st.sampled_from(["smart", "content_aware"]), durations, shots_lists, silence_lists)
def test_segments_last_from_2_to_300_seconds(
    mode: str, duration: float, shots: list[Boundary], silences: list[Silence]
) -> None:
    spans = plan_spans("video", duration, RunSettings(video_segmentation_type=mode), shots, silences)

    lengths = [round(span.end_time - span.start_time, 3) for span in spans]
    assert max(lengths) <= 300
    assert min(lengths) >= min(2.0, round(duration, 3))


@given(durations, st.integers(1, 300))
def test_fixed_segments_have_their_length_and_the_last_is_what_is_left(duration: float, length: int) -> None:
    settings = RunSettings(video_segmentation_type="fixed", video_segment_duration=length)

    spans = plan_spans("video", duration, settings, [], [])

    assert [span.start_time for span in spans] == [index * length for index in range(len(spans))]
    assert 0 <= spans[-1].end_time - spans[-1].start_time <= length
    assert [span.opened_by for span in spans] == ["start", *["interval"] * (len(spans) - 1)]


@given(durations, shots_lists)
def test_the_order_of_shots_does_not_matter(duration: float, shots: list[Boundary]) -> None:
    distinct = list({shot.at_seconds: shot for shot in shots}.values())

    assert plan_spans("video", duration, SMART, distinct, []) == plan_spans(
        "video", duration, SMART, distinct[::-1], []
    )


def test_smart_segments_begin_at_shots() -> None:
    spans = plan_spans("video", 30, SMART, [cut(8.04, 31), Boundary(15.5, "dissolve", 80)], [])

    assert spans == (
        Span(0, 8.04, "start", None),
        Span(8.04, 15.5, "cut", 31),
        Span(15.5, 30, "dissolve", 80),
    )


def test_the_stronger_of_two_shots_close_together_wins() -> None:
    assert edges(plan_spans("video", 20, SMART, [cut(5, 12), cut(6.5, 40), cut(8, 15)], [])) == [0, 6.5, 20]


def test_a_shot_close_to_either_end_opens_no_segment() -> None:
    assert edges(plan_spans("video", 20, SMART, [cut(1.9), cut(18.1)], [])) == [0, 20]


def test_a_long_shot_is_divided_evenly() -> None:
    spans = plan_spans("video", 700, SMART, [cut(40)], [])

    assert edges(spans) == [0, 40, 260, 480, 700]
    assert [span.opened_by for span in spans] == ["start", "cut", "length", "length"]


def test_content_aware_video_is_cut_at_silences_moved_to_shots() -> None:
    shots, silences = [cut(4), cut(10.2), cut(19)], [Silence(9.5, 10.5), Silence(14, 16)]

    spans = plan_spans("video", 20, CONTENT_AWARE, shots, silences)

    assert edges(spans) == [0, 10.2, 15, 20]
    assert [(span.opened_by, span.strength) for span in spans[1:]] == [("silence", None)] * 2


def test_content_aware_video_without_silences_is_cut_at_shots() -> None:
    assert edges(plan_spans("video", 20, CONTENT_AWARE, [cut(4), cut(10)], [])) == [0, 4, 10, 20]


def test_audio_is_cut_in_the_middle_of_silences() -> None:
    assert edges(plan_spans("audio", 20, SMART, [], [Silence(5, 6), Silence(12, 14)])) == [0, 5.5, 13, 20]


def test_a_silence_at_either_end_separates_nothing() -> None:
    assert snap_boundaries([Silence(0, 4), Silence(15, 20)], [], 20) == ()


@pytest.mark.parametrize(("media_type", "duration"), [("image", 0.0), ("image", 7.0), ("video", 0.0)])
def test_a_picture_is_one_segment(media_type: str, duration: float) -> None:
    assert plan_spans(media_type, duration, SMART, [cut(3)], []) == (Span(0, 0, "start", None),)


def test_fixed_needs_a_length() -> None:
    with pytest.raises(ValueError, match="length"):
        plan_spans("audio", 10, RunSettings(audio_segmentation_type="fixed"), [], [])
