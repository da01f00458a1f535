"""Which pictures are kept while media are decoded, as Pillow sees them, and what a hostile child can say of them."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image, ImageStat

from tests import samples
from tests.processing import item_of
from tests.processors.conftest import PROMPT, Shelf, Technical, opened
from tests.processors.picture_drafts import Draft, draft_in
from tests.processors.test_extraction import numbered, shade
from vvwatch.core.media import Plan, ProcessingResult, RunSettings, Segment
from vvwatch.core.pictures import MOST_PICTURES, Picture, PictureContents, Storyboard
from vvwatch.errors import ProcessorCrashed
from vvwatch.ports.processing import Item
from vvwatch.processors.media import rendering
from vvwatch.processors.media.asking import Answer
from vvwatch.processors.media.candidates import Candidates
from vvwatch.processors.media.cutting import Cutter, Extract, ExtractSettings
from vvwatch.processors.media.packs import keep_pictures
from vvwatch.processors.media.rendering import Press, Turn, encode_jpeg, fit_size
from vvwatch.processors.segmenting import Whole, process_by_segments
from vvwatch.processors.technical.processor import TechnicalProcessor

pytestmark = pytest.mark.anyio


@pytest.fixture
def draft(tmp_path: Path) -> Iterator[Draft]:
    with draft_in(tmp_path) as made:
        yield made


async def measure(technical: Technical, path: Path, draft: Draft | None, **settings: Any) -> ProcessingResult:
    processor = TechnicalProcessor(limits=technical.limits, work_dir=technical.work_dir)
    with opened(path) as fd:
        return await processor.measure(fd, PROMPT, RunSettings(**settings), lambda _: None, draft)


def luma(image: Image.Image) -> float:
    """The brightness as the video had it."""
    return ImageStat.Stat(image.convert("L")).mean[0] * 219 / 255 + 16


def tile(draft: Draft, number: int) -> Image.Image:
    board = draft.contents.storyboard
    assert board is not None
    left, top = number % board.columns * board.tile_width, number // board.columns * board.tile_height
    sheet = draft.image(board.sheet)
    return sheet.crop((left, top, left + board.tile_width, top + board.tile_height))


async def test_each_tile_and_thumbnail_shows_its_moment(
    technical: Technical, draft: Draft, tmp_path: Path
) -> None:
    path = numbered(tmp_path / "clip.mp4", [number * 0.5 for number in range(46)])
    result = await measure(technical, path, draft, video_segmentation_type="fixed", video_segment_duration=5)
    board = draft.contents.storyboard
    assert board is not None
    assert len(board.times) in range(20, 25)
    for number, at in enumerate(board.times):
        assert luma(tile(draft, number)) == pytest.approx(shade(round(at * 2)), abs=3)
    for ordinal, segment in enumerate(result.segments):
        picture = draft.contents.find_thumbnail(ordinal)
        assert picture is not None
        middle = (segment.start_time + segment.end_time) / 2
        assert picture.at_seconds == pytest.approx(middle, abs=1.1)
        assert luma(draft.image(picture)) == pytest.approx(shade(round(picture.at_seconds * 2)), abs=3)
    assert result.pictures is not None
    assert result.pictures.contents == draft.contents


async def test_the_poster_is_neither_black_nor_the_first_picture(
    technical: Technical, draft: Draft, tmp_path: Path
) -> None:
    path = tmp_path / "dark.mp4"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number in range(60):
            image = Image.new("RGB", (320, 180), "black")
            if number == 0 or number >= 30:
                image = Image.effect_noise((320, 180), 40).convert("RGB")
            frame: Any = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
            frame.pts, frame.time_base = number, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    await measure(technical, path, draft)
    poster = draft.contents.find_poster()
    assert poster is not None
    assert poster.at_seconds >= 3
    assert luma(draft.image(poster)) > 60


async def test_pictures_are_turned_and_have_their_proportions(
    technical: Technical, draft: Draft, tmp_path: Path
) -> None:
    turned = numbered(tmp_path / "turned.mp4", [0, 1, 2, 3], rotation=90)
    await measure(technical, turned, draft)
    assert draft.image(draft.contents.find_poster()).size == (90, 160)
    wide = numbered(tmp_path / "wide.mp4", [0, 1, 2, 3], aspect=Fraction(2, 1))
    with draft_in(tmp_path) as other:
        await measure(technical, wide, other)
        assert other.image(other.contents.find_poster()).size == (320, 90)


async def test_one_picture_is_a_poster_and_no_storyboard(
    technical: Technical, draft: Draft, tmp_path: Path
) -> None:
    await measure(technical, numbered(tmp_path / "one.mp4", [0]), draft)
    assert draft.image(draft.contents.find_poster()).size == (160, 90)
    assert draft.contents.segments == (0,)
    assert draft.contents.storyboard is None


async def test_a_day_with_few_pictures_stays_within_bounds(
    technical: Technical, draft: Draft, tmp_path: Path
) -> None:
    path = numbered(tmp_path / "day.mkv", [number * 60.0 for number in range(1441)])
    result = await measure(technical, path, draft)
    board = draft.contents.storyboard
    assert board is not None
    assert len(board.times) == 100
    assert board.end_seconds >= 86_400
    assert len(draft.contents.pictures) <= MOST_PICTURES
    shown = [number for number in draft.contents.segments if number is not None]
    assert len(shown) > len(result.segments) / 3
    for ordinal, segment in enumerate(result.segments):
        picture = draft.contents.find_thumbnail(ordinal)
        assert picture is None or segment.start_time <= picture.at_seconds <= segment.end_time


@pytest.mark.parametrize("name", ["vfr.mkv", "late.mp4", "untimed.avi", "joined.ts"])
async def test_odd_timelines_have_pictures_in_order(
    technical: Technical, draft: Draft, tmp_path: Path, name: str
) -> None:
    moments = {
        "vfr.mkv": [0, 0.04, 0.08, 1.5, 1.54, 4.0, 7.7, 7.75, 8.0],
        "late.mp4": [5 + number / 5 for number in range(30)],
        "untimed.avi": [number / 25 for number in range(150)],
        "joined.ts": [number / 5 for number in range(30)],
    }[name]
    path = numbered(tmp_path / name, moments, "mpeg4" if name.endswith("avi") else "libx264")
    if name == "joined.ts":
        path.write_bytes(path.read_bytes() * 2)
    result = await measure(technical, path, draft)
    times = [picture.at_seconds for picture in draft.contents.pictures]
    assert all(0 <= at <= result.segments[-1].end_time for at in times)
    assert draft.image(draft.contents.find_poster()).width > 0
    board = draft.contents.storyboard
    assert board is not None
    assert list(board.times) == sorted(set(board.times))


async def test_ten_sound_tracks_change_nothing(technical: Technical, draft: Draft, tmp_path: Path) -> None:
    path = tmp_path / "ten.mkv"
    with av.open(str(numbered(tmp_path / "one.mkv", [0, 1, 2, 3]))) as source, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(source.streams.video[0])
        sounds = [out.add_stream("aac", rate=48_000, layout="mono") for _ in range(10)]
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
        for sound in sounds:
            out.mux(sound.encode(None))
    await measure(technical, path, draft)
    assert draft.image(draft.contents.find_poster()).size == (160, 90)


async def test_a_still_is_its_own_poster_turned_as_it_says(
    technical: Technical, draft: Draft, tmp_path: Path
) -> None:
    path = tmp_path / "still.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (640, 400), (200, 30, 30)).save(path, exif=exif, quality=95)
    await measure(technical, path, draft)
    image = draft.image(draft.contents.find_poster())
    assert image.size == (320, 512)
    red, green, blue = ImageStat.Stat(image).mean
    assert (red, green, blue) == pytest.approx((200, 30, 30), abs=6)
    assert draft.contents.segments == (0,)


@pytest.mark.parametrize("extension", ["heic", "gif", "png"])
async def test_stills_of_all_kinds_have_a_poster(
    technical: Technical, draft: Draft, shelf: Shelf, extension: str
) -> None:
    await measure(technical, shelf.usual(extension), draft)
    assert draft.image(draft.contents.find_poster()).width == 160


async def test_a_cover_is_the_poster_of_a_sound(technical: Technical, draft: Draft, tmp_path: Path) -> None:
    await measure(technical, samples.song_with_cover(tmp_path / "song.mp3"), draft)
    assert draft.image(draft.contents.find_poster()).width > 0
    assert draft.contents.segments == ()


async def test_a_sound_without_a_cover_has_no_pictures(
    technical: Technical, draft: Draft, shelf: Shelf
) -> None:
    result = await measure(technical, shelf.usual("mp3"), draft)
    assert result.pictures is None
    assert draft.kept is None


@pytest.mark.parametrize("extension", ["mp4", "mkv", "ts", "avi", "webm", "mxf", "mp3", "jpg", "gif"])
async def test_pictures_change_no_result(
    technical: Technical, draft: Draft, shelf: Shelf, extension: str
) -> None:
    path = shelf.usual(extension)
    assert replace(await measure(technical, path, draft), pictures=None) == await measure(
        technical, path, None
    )


async def test_a_plan_has_the_same_pictures(technical: Technical, draft: Draft, shelf: Shelf) -> None:
    path = shelf.usual("mp4")
    await measure(technical, path, draft)
    with draft_in(technical.work_dir.parent) as other, opened(path) as fd:
        cutter = Cutter(limits=technical.limits, work_dir=technical.work_dir)
        plan = await cutter.plan(fd, RunSettings(), lambda _: None, other)
        assert plan.pictures is not None
        assert plan.pictures.contents == draft.contents


class Asker:
    """Answers every segment, and nothing about the whole."""

    async def ask_segment(self, item: Item, plan: Plan, extract: Extract) -> Segment:
        segment = Segment(extract.start_time, extract.end_time, {}, "seen")
        await item.journal.keep_segment(extract.ordinal, segment)
        return segment

    async def ask_whole(self, item: Item, plan: Plan, segments: Sequence[Segment]) -> Whole:
        return Whole({}, "")


async def test_a_processor_that_asks_by_segments_has_the_pictures_of_its_plan_after_a_restart_too(
    technical: Technical, draft: Draft, shelf: Shelf
) -> None:
    cutter = Cutter(limits=technical.limits, work_dir=technical.work_dir)
    item = item_of(shelf.usual("mp4"), PROMPT, draft_pictures=lambda: nullcontext(draft))
    first = await process_by_segments(item, cutter, ExtractSettings(), Asker(), 1)
    assert first.pictures is not None
    assert first.pictures.contents == draft.contents
    draft.kept = None
    again = await process_by_segments(item, cutter, ExtractSettings(), Asker(), 1)
    assert again.pictures == first.pictures
    assert draft.kept is None, "the plan was not made again"


async def test_a_full_file_leaves_pictures_out_and_fails_nothing(
    technical: Technical, tmp_path: Path, shelf: Shelf
) -> None:
    with draft_in(tmp_path, most_bytes=600) as small:
        result = await measure(technical, shelf.usual("mp4"), small)
        assert result.segments
        assert os.fstat(small.fd).st_size <= 600


def test_candidates_are_bounded_in_number_and_bytes() -> None:
    frame = av.VideoFrame(64, 36, "yuv420p")
    for plane in frame.planes:
        plane.update(os.urandom(plane.buffer_size))
    many, small = Candidates(64, 64 << 20), Candidates(64, 20_000)
    for number in range(5_000):
        for candidates in (many, small):
            if number >= candidates.due:
                candidates.offer(float(number), frame)
        assert len(many.kept) <= MOST_PICTURES
        assert sum(len(each.jpeg) for each in small.kept) <= 20_000
    assert len(many.kept) > MOST_PICTURES / 3
    gaps = {round(b.at - a.at) for a, b in zip(many.kept, many.kept[1:], strict=False)}
    assert gaps == {16}


@pytest.mark.parametrize(("seconds", "step"), [(0, 1), (300, 1), (450, 1.5), (600, 2), (86_400, 2)])
def test_fewer_pictures_are_taken_of_long_media_whatever_their_header_says(
    seconds: float, step: float
) -> None:
    candidates = Candidates(64, 1 << 20)
    candidates.expect(seconds)
    candidates.offer(10.0, av.VideoFrame(64, 36, "yuv420p"))
    assert candidates.due == 10 + step


def test_a_picture_is_the_same_whatever_was_encoded_before_it() -> None:
    press = Press()
    names = "yuv420p", "yuvj420p", "rgb24", "rgba", "yuv420p10le"
    for width, name, turn, matrix, curve in itertools.product((64, 40), names, (0, 90), (1, 2, 6), (2, 16)):
        for _ in range(2):
            once, again = noisy(width, name, matrix, curve)
            alone = encode_jpeg(once, Turn(False, turn), None, 32)
            size = fit_size((again.width, again.height), None, Turn(False, turn), 32)
            assert press.encode(again, Turn(False, turn), size) == alone
            assert len(alone) > 100


def test_filters_and_encoder_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    build = rendering._build_filters

    def count(frame: av.VideoFrame, turn: Turn, size: tuple[int, int]) -> Any:
        built.append(size)
        return build(frame, turn, size)

    monkeypatch.setattr(rendering, "_build_filters", count)
    candidates = Candidates(64, 1 << 20)
    for number in range(5):
        candidates.offer(float(number), noisy(64, "yuv420p", 1, 2)[0])
    candidates.offer(9.0, noisy(40, "yuv420p", 1, 2)[0])
    assert len(candidates.kept) == 6
    assert len(built) == 2


def noisy(width: int, name: str, matrix: int, curve: int) -> tuple[av.VideoFrame, av.VideoFrame]:
    """Two equal frames."""
    made = av.VideoFrame(width, 36, name), av.VideoFrame(width, 36, name)
    for plane, other in zip(made[0].planes, made[1].planes, strict=True):
        data = os.urandom(plane.buffer_size)
        plane.update(data)
        other.update(data)
    for frame in made:
        frame.colorspace, frame.color_trc = matrix, curve
    return made


def test_a_frame_is_unchanged_by_being_kept() -> None:
    frame = av.VideoFrame(64, 36, "yuv420p")
    frame.pts, frame.time_base, frame.colorspace = 90, Fraction(1, 90), 1
    Candidates(64, 1 << 20).offer(1.0, frame)
    assert (frame.pts, frame.time_base, int(frame.colorspace)) == (90, Fraction(1, 90), 1)


def jpeg() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (8, 8)).save(made, "JPEG")
    return made.getvalue()


GOOD = PictureContents((Picture(0, 100, 8, 8, 0.0),), 0, (0, None), None)
SHEET = Picture(0, 100, 16, 8, 0.0)


@pytest.mark.parametrize(
    "lie",
    [
        replace(GOOD, pictures=(Picture(0, 10**9, 8, 8, 0.0),)),
        replace(GOOD, pictures=(Picture(-1, 100, 8, 8, 0.0),)),
        replace(GOOD, pictures=(Picture(1, 100, 8, 8, 0.0),)),
        replace(GOOD, pictures=(Picture(0, 100, 0, 8, 0.0),)),
        replace(GOOD, pictures=GOOD.pictures * 1000),
        replace(GOOD, poster=1),
        replace(GOOD, segments=(-1,)),
        replace(GOOD, segments=(0,) * 10_000),
        replace(GOOD, storyboard=Storyboard(SHEET, 0, 8, 8, (0.0,), 1.0)),
        replace(GOOD, storyboard=Storyboard(SHEET, 2, 9, 8, (0.0, 1.0), 2.0)),
        replace(GOOD, storyboard=Storyboard(SHEET, 2, 8, 8, (0.0,) * 200, 2.0)),
        replace(GOOD, storyboard=Storyboard(SHEET, 2, 8, 8, (1.0, 0.0), 2.0)),
        "pictures",
        {"pictures": [[]]},
        None,
    ],
)
async def test_what_a_hostile_child_says_of_its_pictures_is_checked(tmp_path: Path, lie: Any) -> None:
    with draft_in(tmp_path) as draft:
        os.write(draft.fd, jpeg())
        said = asdict(lie) if isinstance(lie, PictureContents) else lie
        if said is None:
            assert await keep_pictures(Answer({"pictures": None}), draft) is None
            return
        with pytest.raises(ProcessorCrashed):
            await keep_pictures(Answer({"pictures": said}), draft)
        assert draft.kept is None


async def test_an_honest_answer_is_kept_and_a_larger_file_is_not(tmp_path: Path) -> None:
    with draft_in(tmp_path) as draft:
        os.write(draft.fd, jpeg())
        assert await keep_pictures(Answer({"pictures": asdict(GOOD)}), draft) is not None
    with draft_in(tmp_path, most_bytes=10) as small:
        os.write(small.fd, jpeg())
        with pytest.raises(ProcessorCrashed):
            await keep_pictures(Answer({"pictures": asdict(GOOD)}), small)
