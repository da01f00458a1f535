"""Media whose default track of sound is silent: the loudest of the others is heard, and named."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

import av
import pytest
from av.stream import Disposition

from tests.processing import item_of
from vvwatch.ports.processing import Prompt
from vvwatch.processors.media.cutting import Cutter
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.transcription.pieces import Piece, describe_track, read_pieces

pytestmark = pytest.mark.anyio

SECONDS = 2


def tone(level: int) -> array[int]:
    return array("h", (round(level * math.sin(at / 8)) for at in range(16_000 * SECONDS)))


def write_tracks(path: Path, *levels: int, opposite: bool = False) -> Path:
    """A file with a track of each level, the first of them the default; `opposite`: channels that cancel out."""
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("pcm_s16le", rate=16_000, layout="stereo") for _ in levels]
        for number, stream in enumerate(streams):
            stream.disposition = Disposition.default if number == 0 else Disposition(0)
        for stream, level in zip(streams, levels, strict=True):
            one = tone(level)
            both = array("h", (value for left in one for value in (left, -left if opposite else left)))
            frame = av.AudioFrame(format="s16", layout="stereo", samples=len(one))
            frame.planes[0].update(both.tobytes())
            frame.sample_rate, frame.pts = 16_000, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                out.mux(packet)
    return path


async def hear(path: Path, work: Path) -> list[Piece]:
    item = item_of(path, Prompt("", {}, None), media_type="audio", duration_seconds=float(SECONDS))
    return [piece async for piece in read_pieces(Cutter(limits=Limits(), work_dir=work), item)]


@pytest.mark.parametrize("opposite", [False, True])
async def test_the_loudest_of_the_others_is_heard_and_named(tmp_path: Path, opposite: bool) -> None:
    path = write_tracks(tmp_path / "film.mkv", 0, 500, 9000, 3000, opposite=opposite)
    (piece,) = await hear(path, tmp_path)
    assert piece.track == 2
    assert max(array("h", piece.samples)) == pytest.approx(9000, rel=0.05)
    assert describe_track(piece.track) == ", track 2: the usual one is silent"


async def test_a_default_track_that_is_heard_stays_even_if_others_are_louder(tmp_path: Path) -> None:
    (piece,) = await hear(write_tracks(tmp_path / "film.mkv", 500, 9000), tmp_path)
    assert piece.track is None
    assert max(array("h", piece.samples)) == pytest.approx(500, rel=0.05)
    assert describe_track(piece.track) == ""


async def test_where_all_tracks_are_silent_nothing_is_heard(tmp_path: Path) -> None:
    assert await hear(write_tracks(tmp_path / "film.mkv", 0, 0), tmp_path) == []
