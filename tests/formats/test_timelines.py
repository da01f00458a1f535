"""Timelines, as OpenTimelineIO with its adapters, pycmx and an XML parser read them: equal times and texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from io import StringIO
from typing import Any
from xml.etree import ElementTree as ET

import opentimelineio as otio
import pycmx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.items import HARSH_TEXTS, exported, segment, written
from vvwatch.core.timecode import Counting
from vvwatch.formats.items import NotApplicable
from vvwatch.formats.texts import first_line

NTSC = Fraction(1000, 1001)
RATES: list[tuple[Fraction, str]] = [
    (24 * NTSC, "10:00:00:23"),
    (Fraction(24), "10:00:00:23"),
    (Fraction(25), "09:59:58:24"),
    (30 * NTSC, "00:58:30;00"),
    (30 * NTSC, "01:00:00:00"),
    (Fraction(30), "00:00:00:00"),
    (Fraction(50), "10:00:00:49"),
    (60 * NTSC, "00:58:30;59"),
    (60 * NTSC, "01:00:00:00"),
    (Fraction(60), "01:00:00:00"),
]
SPANS = [(0, 1), (1, 100), (1799, 1800), (1800, 17_982), (17_000, 40_000), (50, 60)]
"""In frames: with a gap, an overlap, and a way back."""

TEXTS = ["Opening", "Segment 2", "a < b & c", "“Ü” 漢", "late", "end"]
FORMATS = ["otio", "edl", "edl_resolve", "fcp7", "fcpxml"]

Clip = tuple[int, int, int, str]
"""First frame of the source by its timecode, length, first frame of the record, text of the marker."""


def film(rate: Fraction, timecode: str | None) -> Any:
    """One segment for each of `SPANS`, at whole milliseconds, as stored results have them."""
    times = [(round(float(start / rate), 3), round(float(end / rate), 3)) for start, end in SPANS]
    texts = [text if text != "Segment 2" else "" for text in TEXTS]
    cuts = [segment(start, end, text) for (start, end), text in zip(times, texts, strict=True)]
    probe: Any = {
        "frame_rate_exact": str(rate),
        "frame_rate": round(float(rate), 3),
        "start_timecode": timecode,
    }
    return exported(cuts, duration_seconds=float(40_000 / rate), **probe)


def expected(rate: Fraction, timecode: str) -> list[Clip]:
    start = record = Counting(rate, ";" in timecode).parse(timecode)
    clips = []
    for (first, end), text in zip(SPANS, TEXTS, strict=True):
        clips.append((start + first, end - first, record, text))
        record += end - first
    return clips


def otio_clips(timeline: Any, *, marker_start: int = 0) -> list[Clip]:
    """The clips of the pictures; the marker of each begins with its source, less `marker_start`."""
    (track,) = timeline.video_tracks()
    record = (timeline.global_start_time or otio.opentime.RationalTime()).value
    found = []
    for clip in track:
        (marker,) = clip.markers
        assert marker.marked_range.start_time.value == clip.source_range.start_time.value - marker_start
        at = clip.range_in_parent().start_time.value
        start, length = clip.source_range.start_time.value, clip.source_range.duration.value
        found.append((int(start), int(length), int(record + at), marker.name))
    return found


@pytest.mark.parametrize(("rate", "timecode"), RATES)
def test_otio_is_read_frame_by_frame(rate: Fraction, timecode: str) -> None:
    timeline: Any = otio.adapters.read_from_string(
        written("otio", film(rate, timecode)).decode(), "otio_json"
    )
    assert otio_clips(timeline) == expected(rate, timecode)
    clip = timeline.tracks[0][0]
    assert Fraction(clip.source_range.start_time.rate).limit_denominator(1001) == rate
    assert clip.media_reference.target_url == "file:///in/day%201/interview_01.mov"
    assert clip.media_reference.available_range.start_time.value == expected(rate, timecode)[0][0]


@pytest.mark.parametrize(("rate", "timecode"), RATES)
def test_edl_is_read_frame_by_frame(rate: Fraction, timecode: str) -> None:
    content = written("edl", film(rate, timecode)).decode()
    timeline: Any = otio.adapters.read_from_string(content, "cmx_3600", rate=float(rate))
    (track,) = timeline.tracks
    wanted = expected(rate, timecode)
    spans = [(clip.source_range.start_time.value, clip.source_range.duration.value) for clip in track]
    assert spans == [(start, length) for start, length, _, _ in wanted]
    assert {clip.name for clip in track} == {"interview_01.mov"}
    if ";" not in timecode:  # the adapter reads no marker of drop-frame
        found = [(int(m.marked_range.start_time.value), m.name) for clip in track for m in clip.markers]
        assert found == [(record, text) for _, _, record, text in wanted]


@pytest.mark.parametrize(("rate", "timecode"), RATES)
def test_pycmx_finds_each_side_and_marker_of_an_edl(rate: Fraction, timecode: str) -> None:
    counting = Counting(rate, ";" in timecode)
    edl = pycmx.parse_cmx3600(StringIO(written("edl", film(rate, timecode)).decode()))
    assert edl.title == "interview_01.mov"
    found: list[Clip] = []
    for event in edl.events:
        (edit,) = event.edits
        source = [counting.parse(each) for each in (edit.source_in, edit.source_out)]
        record = [counting.parse(each) for each in (edit.record_in, edit.record_out)]
        assert source[1] - source[0] == record[1] - record[0]
        assert (edit.channels.video, edit.clip_name, edit.source_file) == (
            True,
            "interview_01.mov",
            "day 1/interview_01.mov",
        )
        remarks = "\n".join(getattr(statement, "text", "") for statement in event.statements)
        marker = re.search(r"LOC: (\S+) GREEN   (.*)", remarks)
        assert marker
        assert counting.parse(marker[1]) == record[0]
        found.append((source[0], source[1] - source[0], record[0], marker[2]))
    assert found == expected(rate, timecode)


def resolve_markers(content: str, counting: Counting) -> Iterator[tuple[int, int, str]]:
    """The markers of Resolve's dialect, which no library reads."""
    event = r"\d{3}  001      V     C        (\S+) \S+ (\S+) \S+\n \|C:ResolveColorBlue \|M:(.*?) \|D:(\d+)\n"
    for source, record, text, length in re.findall(event, content):
        assert source == record
        yield counting.parse(source), int(length), text


@pytest.mark.parametrize(("rate", "timecode"), RATES)
def test_markers_for_resolve_are_at_the_times_of_the_source(rate: Fraction, timecode: str) -> None:
    content = written("edl_resolve", film(rate, timecode)).decode()
    found = list(resolve_markers(content, Counting(rate, ";" in timecode)))
    assert found == [(start, length, text) for start, length, _, text in expected(rate, timecode)]
    assert len(list(pycmx.parse_cmx3600(StringIO(content)).events)) == len(found)


@pytest.mark.parametrize(("rate", "timecode"), RATES)
def test_fcp7_xml_is_read_frame_by_frame(rate: Fraction, timecode: str) -> None:
    content = written("fcp7", film(rate, timecode)).decode()
    timeline: Any = otio.adapters.read_from_string(content, "fcp_xml")
    start = expected(rate, timecode)[0][0]
    # The adapter gives clips and their media the media's timecode, and markers what the file says.
    assert otio_clips(timeline, marker_start=start) == expected(rate, timecode)
    root = ET.fromstring(content)
    drops = "DF" if ";" in timecode else "NDF"
    assert {each.text for each in root.iter("displayformat")} == {drops}
    assert {each.text for each in root.iter("string")} == {timecode}
    assert root.findtext(".//pathurl") == "file://localhost/in/day%201/interview_01.mov"


@pytest.mark.parametrize(("rate", "timecode"), RATES)
def test_the_sound_of_fcp7_xml_is_where_its_pictures_are(rate: Fraction, timecode: str) -> None:
    content = written("fcp7", film(rate, timecode)).decode()
    timeline: Any = otio.adapters.read_from_string(content, "fcp_xml")
    (pictures,), (sound,) = timeline.video_tracks(), timeline.audio_tracks()
    assert len(sound) == len(SPANS)
    for seen, heard in zip(pictures, sound, strict=True):
        assert heard.source_range == seen.source_range
        assert heard.range_in_parent() == seen.range_in_parent()
        assert heard.media_reference.target_url == seen.media_reference.target_url
        assert not heard.markers
    assert timeline.global_start_time.value == expected(rate, timecode)[0][0]


def test_each_clip_of_fcp7_xml_names_its_pictures_and_its_sound() -> None:
    root = ET.fromstring(written("fcp7", film(Fraction(25), None)))
    links = [[link.text for link in clip.findall("link/linkclipref")] for clip in root.iter("clipitem")]
    pairs = [[f"clipitem-{number}", f"sound-{number}"] for number in range(1, len(SPANS) + 1)]
    assert links == pairs * 2
    names = [clip.attrib["id"] for clip in root.iter("clipitem")]
    assert sorted(names) == sorted({name for pair in pairs for name in pair})
    sound = root.findall("sequence/media/audio/track/clipitem")
    assert {clip.findtext("sourcetrack/mediatype") for clip in sound} == {"audio"}
    assert root.findtext("sequence/media/audio/format/samplecharacteristics/samplerate") == "48000"


@pytest.mark.parametrize(("media_type", "kind"), [("video", "Video"), ("audio", "Audio"), ("image", "Video")])
def test_fcp7_xml_of_one_kind_has_one_track_and_no_links(media_type: str, kind: str) -> None:
    codec = "aac" if media_type == "audio" else None
    item = exported([segment(0, 1, "a"), segment(1, 2, "b")], media_type=media_type, audio_codec=codec)
    content = written("fcp7", item).decode()
    timeline: Any = otio.adapters.read_from_string(content, "fcp_xml")
    (track,) = timeline.tracks
    assert (track.kind, len(track)) == (kind, 2)
    assert "<link>" not in content
    assert "sound-1" not in content


def fcpxml_clips(content: str, frame: Fraction) -> Iterator[Clip]:
    """The clips by an XML parser, each time a whole number of frames."""

    def count(element: ET.Element, name: str) -> int:
        frames = Fraction(element.attrib[name].removesuffix("s")) / frame
        assert frames.denominator == 1
        return int(frames)

    root = ET.fromstring(content)
    sequence, asset = root.find(".//sequence"), root.find(".//asset")
    assert sequence is not None
    assert asset is not None
    assert count(sequence, "tcStart") == count(asset, "start")
    for clip in root.iter("asset-clip"):
        (marker,) = clip
        assert marker.attrib["start"] == clip.attrib["start"]
        yield count(clip, "start"), count(clip, "duration"), count(clip, "offset"), marker.attrib["value"]


@pytest.mark.parametrize(("rate", "timecode"), RATES)
def test_fcpxml_times_are_whole_frames(rate: Fraction, timecode: str) -> None:
    content = written("fcpxml", film(rate, timecode)).decode()
    assert list(fcpxml_clips(content, 1 / rate)) == expected(rate, timecode)
    assert f'frameDuration="{rate.denominator}/{rate.numerator}s"' in content
    assert f'tcFormat="{"DF" if ";" in timecode else "NDF"}"' in content


@pytest.mark.parametrize(("rate", "timecode"), [each for each in RATES if each[0].denominator == 1])
def test_the_adapter_reads_fcpxml_of_whole_rates(rate: Fraction, timecode: str) -> None:
    # It takes 29.97 for 29, and cuts off the fractions of floats: 1699/25 s may be 1698 frames.
    content = written("fcpxml", film(rate, timecode)).decode()
    found: Any = otio.adapters.read_from_string(content, "fcpx_xml")
    clips = [clip for clip in found.find_clips() if clip.media_reference.target_url]
    for clip, (start, length, _, text) in zip(clips, expected(rate, timecode), strict=True):
        assert start - clip.source_range.start_time.value in (0, 1)
        assert length - clip.source_range.duration.value in (0, 1)
        assert clip.markers[0].name == text


def read_titles(name: str, content: str) -> list[str]:
    """The texts of the markers, by a reader that nobody here wrote where there is one."""
    if name == "edl_resolve":
        return re.findall(r"\|M:(.*) \|D:\d+$", content, re.MULTILINE)
    adapter = {"otio": "otio_json", "edl": "cmx_3600", "fcp7": "fcp_xml", "fcpxml": "fcpx_xml"}[name]
    options = {"rate": 25} if name == "edl" else {}
    found: Any = otio.adapters.read_from_string(content, adapter, **options)
    return [clip.markers[0].name for clip in found.find_clips() if clip.markers]


@pytest.mark.parametrize("name", FORMATS)
def test_no_text_breaks_a_timeline(name: str) -> None:
    cuts = [segment(at, at + 1, text) for at, text in enumerate(HARSH_TEXTS)]
    titles = [first_line(text) for text in HARSH_TEXTS]
    if name == "edl_resolve":  # whose fields end with a bar
        titles = [title.replace("|", "¦") for title in titles]
    assert read_titles(name, written(name, exported(cuts)).decode()) == titles


@pytest.mark.parametrize("name", ["fcp7", "fcpxml"])
@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=40), min_size=1, max_size=5))
def test_any_text_survives_xml(name: str, texts: list[str]) -> None:
    cuts = [segment(at, at + 1, text) for at, text in enumerate(texts)]
    root = ET.fromstring(written(name, exported(cuts)))
    path, key = ("marker/name", None) if name == "fcp7" else ("marker", "value")
    elements = root.findall(f".//{path}")
    titles = [first_line(text) or f"Segment {number}" for number, text in enumerate(texts, 1)]
    assert [each.attrib[key] if key else each.text for each in elements] == titles


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "title", ["a\nb.mov", "a & <b>.mov", "]]>.mov", "\x1b[1m.mov", "漢字 \u202e.mov", "|C:.mov"]
)
def test_no_file_name_breaks_a_timeline(name: str, title: str) -> None:
    item = exported(
        [segment(0, 1, "first"), segment(1, 2, "second")], title=title, uri="s3://bucket/" + title
    )
    assert read_titles(name, written(name, item).decode()) == ["first", "second"]


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("file:///in/day%201/%C3%A4.mov", "file:///in/day%201/%C3%A4.mov"),
        ("s3://bucket/day 1/100%.mov", "s3://bucket/day%201/100%25.mov"),
        ("gs://bucket/a&b?#.mov", "gs://bucket/a%26b%3F%23.mov"),
    ],
)
def test_addresses_are_encoded_once(uri: str, url: str) -> None:
    item = exported([segment(0, 1)], uri=uri)
    timeline: Any = otio.adapters.read_from_string(written("otio", item).decode(), "otio_json")
    assert timeline.tracks[0][0].media_reference.target_url == url


def test_a_reel_is_the_name_of_the_file_or_unique() -> None:
    def reel(title: str, uri: str | None = None) -> str:
        item = exported([segment(0, 1)], title=title, uri=uri)
        (event,) = pycmx.parse_cmx3600(StringIO(written("edl", item).decode())).events
        return str(event.edits[0].source)

    assert reel("A001C002.mov") == "A001C002"
    names = ["interview_01.mov", "interview_02.mov", "ax.mov", "été.mov", "B ROLL.mov"]
    reels = {reel(name) for name in names} | {reel(names[0], uri="file:///in/day%202/interview_01.mov")}
    assert len(reels) == 6
    assert all(re.fullmatch("[A-Z0-9]{5,8}", each) for each in reels)
    assert not reels & {"AX", "BL"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_day_of_media_over_midnight_keeps_its_lengths(name: str) -> None:
    cuts = [segment(at * 3600.0, (at + 1) * 3600.0) for at in range(24)]
    item = exported(cuts, duration_seconds=86_400.0, start_timecode="23:30:00:00")
    content = written(name, item).decode()
    assert len(read_titles(name, content)) == 24 if name != "edl" else "23:30:00:00 00:30:00:00" in content


def test_an_edl_refuses_what_it_cannot_count() -> None:
    many = [segment(at, at + 1) for at in range(1000)]
    with pytest.raises(NotApplicable, match="holds 999 events, it has 1000 segments"):
        written("edl", exported(many))
    assert written("edl", exported(many[:999])).count(b"* LOC:") == 999
    with pytest.raises(NotApplicable, match="counts 24 hours"):
        written("edl", exported([segment(0, 80_000), segment(0, 80_000)]))
    with pytest.raises(NotApplicable, match="no segments"):
        written("fcpxml", exported())


@pytest.mark.parametrize(
    ("segments", "clips"),
    [
        ([segment(1, 1)], [(25, 1)]),  # a moment
        ([segment(2, 1)], [(50, 1)]),
        ([segment(0, 3), segment(1, 2)], [(0, 75), (25, 25)]),
        ([segment(5, 6), segment(0, 1)], [(125, 25), (0, 25)]),
        ([segment(0, 0.019), segment(0.019, 1)], [(0, 1), (0, 25)]),
        ([segment(-1, 1)], [(0, 25)]),
    ],
)
@pytest.mark.parametrize("name", ["otio", "edl", "fcp7"])
def test_each_segment_is_a_clip_of_a_frame_at_least(
    name: str, segments: list[dict[str, Any]], clips: list[tuple[int, int]]
) -> None:
    adapter = {"otio": "otio_json", "edl": "cmx_3600", "fcp7": "fcp_xml"}[name]
    options = {"rate": 25} if name == "edl" else {}
    content = written(name, exported(segments)).decode()
    timeline: Any = otio.adapters.read_from_string(content, adapter, **options)
    ranges = [clip.source_range for clip in timeline.tracks[0]]
    assert [(found.start_time.value, found.duration.value) for found in ranges] == clips


def test_frames_are_counted_from_the_first_picture() -> None:
    item = exported([segment(0, 1), segment(1, 2), segment(4, 5)], first_picture_seconds=0.08)
    timeline: Any = otio.adapters.read_from_string(written("otio", item).decode(), "otio_json")
    assert [clip.source_range.start_time.value for clip in timeline.tracks[0]] == [0, 23, 98]


def test_sound_is_a_clip_of_sound_and_says_how_it_is_counted() -> None:
    item = exported([segment(0, 1, "said")], media_type="audio", frame_rate=None, frame_rate_exact=None)
    says = "Sound has no frames: times are counted at 25 frames a second."
    contents = {name: written(name, item).decode() for name in FORMATS}
    assert all(says in content for content in contents.values())
    assert all(
        "The source states no timecode: counted from 00:00:00:00." in each for each in contents.values()
    )
    (asset,) = ET.fromstring(contents["fcpxml"]).iter("asset")
    assert (asset.get("hasAudio"), asset.get("hasVideo")) == ("1", None)
    for name, adapter in (("otio", "otio_json"), ("edl", "cmx_3600"), ("fcp7", "fcp_xml")):
        options = {"rate": 25} if name == "edl" else {}
        found: Any = otio.adapters.read_from_string(contents[name], adapter, **options)
        kinds = {
            track.kind for track in found.find_children(descended_from_type=otio.schema.Track) if len(track)
        }
        assert kinds == {"Audio"}, name


@pytest.mark.parametrize("name", FORMATS)
def test_a_picture_is_one_still(name: str) -> None:
    item = exported(
        [segment(0, 0, "a cat")],
        media_type="image",
        duration_seconds=None,
        frame_rate=None,
        frame_rate_exact=None,
    )
    content = written(name, item).decode()
    assert "A still picture has no frames" in content
    if name == "fcpxml":
        (still,) = ET.fromstring(content).iter("video")
        assert (still.attrib["duration"], still.attrib["start"]) == ("125/25s", "0/25s")
    else:
        assert read_titles(name, content) == ["a cat"]


@pytest.mark.parametrize(
    ("exact", "mean", "counted", "says"),
    [
        ("25/2", 12.5, "1/25s", "No timecode counts 12.5 frames a second: counted at 25."),
        (
            None,
            29.83,
            "1001/30000s",
            "No constant frame rate is known (29.83 in the mean): counted at 29.97.",
        ),
        ("15", 15.0, "1/15s", ""),
        ("120000/1001", 119.88, "1001/120000s", ""),
    ],
)
def test_other_rates_are_exact_or_said(exact: str | None, mean: float, counted: str, says: str) -> None:
    item = exported([segment(0, 2.4, "x")], frame_rate_exact=exact, frame_rate=mean)
    content = written("fcpxml", item).decode()
    assert f'frameDuration="{counted}"' in content
    assert says in content


def test_an_edl_counts_fast_pictures_at_a_part_of_their_rate() -> None:
    item = exported(
        [segment(0, 1), segment(1, 2)], frame_rate_exact="120000/1001", start_timecode="01:00:00:060"
    )
    content = written("edl", item).decode()
    assert "01:00:00:30 01:00:01:30" in content
    assert "* Counted at 59.94 of 119.88 frames a second." in content
