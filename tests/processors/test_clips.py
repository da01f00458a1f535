"""Clips: a stretch of a file, cut at a key frame and not coded again, as PyAV and FFmpeg's command read it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import av
import imageio_ffmpeg  # type: ignore[import-untyped]
import pytest

from tests import samples
from tests.processors.conftest import Shelf, Technical, opened
from tests.processors.test_extraction import numbered, shade
from vvwatch.errors import MediaLimit, MediaUnsupported, ProcessorCrashed
from vvwatch.processors.media import asking
from vvwatch.processors.media.clips import Clip, Clipper, choose_ending

pytestmark = pytest.mark.anyio

ROOM = 64 << 20
SPACED = [number / 5 for number in range(60)]
KEYS = {"g": "10", "keyint_min": "10", "sc_threshold": "0", "bf": "2"}
"""A key frame every two seconds, and pictures out of order between them."""


@dataclass
class Made:
    """A clip and its file."""

    clip: Clip
    path: Path

    def decoded(self, kind: str) -> list[float]:
        """The times of all pictures or sounds, from the beginning of the file."""
        with av.open(str(self.path)) as container:
            stream = getattr(container.streams, kind)[0]
            return [float(frame.time or 0) for frame in container.decode(stream)]

    def complaints(self) -> str:
        """What FFmpeg's command has to say against it."""
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(self.path), "-f", "null", "-"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return ended.stderr + ("" if ended.returncode == 0 else f"status {ended.returncode}")


async def cut(technical: Technical, path: Path, start: float, end: float, most_bytes: int = ROOM) -> Made:
    target = path.with_name("clip")
    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    clipper = Clipper(limits=technical.limits, work_dir=technical.work_dir)
    try:
        with opened(path) as media:
            clip = await clipper.cut(media, (start, end), path.suffix[1:], fd, most_bytes)
    finally:
        os.close(fd)
    return Made(clip, target.rename(target.with_suffix(f".{clip.ending}")))


def shades(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [bytes(frame.planes[0])[0] for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("extension", "ending"), [("mp4", "mp4"), ("mkv", "mkv"), ("mov", "mov"), ("ts", "ts")]
)
async def test_a_clip_begins_with_the_key_frame_before_its_start(
    technical: Technical, tmp_path: Path, extension: str, ending: str
) -> None:
    path = numbered(tmp_path / f"clip.{extension}", SPACED, options=KEYS, rate=5)
    made = await cut(technical, path, 4.7, 8.1)
    assert made.clip.ending == ending == choose_ending(extension)
    assert made.clip.start_time == pytest.approx(4.0, abs=0.01)
    assert made.clip.end_time == pytest.approx(8.4, abs=0.45)
    assert made.complaints() == ""
    found = shades(made.path)
    assert len(found) == round((made.clip.end_time - made.clip.start_time) * 5)
    assert found == pytest.approx([shade(20 + number) for number in range(len(found))], abs=2)


@pytest.mark.parametrize(
    "extension", ["mp4", "mkv", "mov", "webm", "ts", "avi", "mp3", "wav", "flac", "ogg", "m4a"]
)
async def test_a_clip_of_every_kind_is_whole_and_not_the_whole(
    technical: Technical, shelf: Shelf, tmp_path: Path, extension: str
) -> None:
    path = tmp_path / f"a.{extension}"
    path.write_bytes(shelf.usual(extension).read_bytes())
    made = await cut(technical, path, 0.0, 2.0)
    assert made.complaints() == ""
    assert made.clip.start_time == pytest.approx(0.0, abs=0.05)
    assert made.clip.end_time == pytest.approx(2.0, abs=0.3)
    assert made.path.stat().st_size < path.stat().st_size
    kind = "audio" if extension in ("mp3", "wav", "flac", "ogg", "m4a") else "video"
    times = made.decoded(kind)
    assert times[-1] - times[0] == pytest.approx(2.0, abs=0.35)


@pytest.mark.parametrize("extension", ["mp3", "wav", "flac"])
async def test_a_clip_of_sound_begins_where_it_is_asked_to(
    technical: Technical, tmp_path: Path, extension: str
) -> None:
    path = samples.audio(tmp_path / f"a.{extension}", silences=((1.0, 2.0),))
    made = await cut(technical, path, 2.5, 3.5)
    assert made.clip.start_time == pytest.approx(2.5, abs=0.15)
    assert made.clip.end_time == pytest.approx(3.5, abs=0.15)
    with av.open(str(made.path)) as container:
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert seconds == pytest.approx(1.0, abs=0.2)


async def test_pictures_and_sound_of_a_clip_stay_together(technical: Technical, tmp_path: Path) -> None:
    path = numbered(tmp_path / "av.mp4", SPACED, options=KEYS, rate=5, sounds=[n * 0.02 for n in range(600)])
    made = await cut(technical, path, 6.5, 9.0)
    assert made.complaints() == ""
    pictures, sounds = made.decoded("video"), made.decoded("audio")
    assert pictures[0] == pytest.approx(sounds[0], abs=0.06)
    assert sounds[-1] == pytest.approx(3.0, abs=0.15)


async def test_a_stretch_that_its_container_cannot_hold_goes_into_matroska(
    technical: Technical, tmp_path: Path
) -> None:
    source = samples.video(tmp_path / "a.avi", seconds=4)
    path = source.rename(tmp_path / "a.webm")
    made = await cut(technical, path, 0.0, 2.0)
    assert made.clip.ending == "mkv"
    assert made.complaints() == ""


async def test_ten_sound_tracks_are_all_kept(technical: Technical, tmp_path: Path) -> None:
    path = tmp_path / "ten.mkv"
    one = samples.video(tmp_path / "one.mkv", seconds=4)
    with av.open(str(one)) as source, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(source.streams.video[0])
        sounds = [out.add_stream_from_template(source.streams.audio[0]) for _ in range(10)]
        for packet in source.demux():
            if packet.size and packet.stream.type == "video":
                packet.stream = video
                out.mux(packet)
            elif packet.size:
                for sound in sounds:
                    copy = av.Packet(bytes(packet))
                    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                    copy.stream = sound
                    out.mux(copy)
    made = await cut(technical, path, 0.0, 2.0)
    with av.open(str(made.path)) as container:
        assert len(container.streams.audio) == 10


async def test_late_and_irregular_times(technical: Technical, tmp_path: Path) -> None:
    moments = [5 + at for at in (0, 0.04, 0.08, 1.5, 1.54, 4.0, 7.7, 7.75, 8.0, 12.0)]
    path = numbered(tmp_path / "vfr.mkv", moments, options={"g": "1"})
    made = await cut(technical, path, 4.0, 8.0)
    assert made.complaints() == ""
    assert len(shades(made.path)) == 3
    assert made.clip.start_time == pytest.approx(4.0, abs=0.01)


async def test_one_picture(technical: Technical, tmp_path: Path) -> None:
    made = await cut(technical, numbered(tmp_path / "one.mp4", [0.0]), 0.0, 0.04)
    assert len(shades(made.path)) == 1


async def test_what_has_no_room_or_nothing_in_it_is_refused(technical: Technical, tmp_path: Path) -> None:
    path = numbered(tmp_path / "clip.mp4", SPACED, options=KEYS, rate=5)
    with pytest.raises(MediaUnsupported, match="nothing to cut"):
        await cut(technical, path, 100.0, 110.0)
    short = samples.audio(tmp_path / "short.wav", seconds=2)
    with pytest.raises(MediaLimit, match="larger"):
        await cut(technical, short, 0.0, 2.0, most_bytes=1000)
    noisy = samples.audio(tmp_path / "noisy.wav", seconds=30)
    with pytest.raises(MediaLimit, match="larger"):
        await cut(technical, noisy, 0.0, 30.0, most_bytes=1000)


@pytest.mark.parametrize("lie", [None, "mp4", {"muxer": "mp4"}, {"muxer": 1, "start_time": 0, "end_time": 1}])
async def test_a_hostile_answer_is_no_clip(
    technical: Technical, tmp_path: Path, lie: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answered(*_: object, **__: object) -> asking.Answer:
        return asking.Answer({"clip": lie})

    monkeypatch.setattr(asking, "ask_child", answered)
    with pytest.raises(ProcessorCrashed):
        await cut(technical, numbered(tmp_path / "clip.mp4", [0.0]), 0.0, 1.0)
