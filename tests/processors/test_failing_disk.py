"""A disk or a share that fails is the storage's trouble, for which media is tried again; it is no damage."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.media.sounds import wav
from tests.processors.conftest import Shelf, Technical, opened
from vvwatch.core.media import ProcessingResult
from vvwatch.errors import MediaUnreadable, StorageUnavailable
from vvwatch.processors.media import extracting, opening, reading
from vvwatch.processors.technical.processor import TechnicalProcessor

SurveyOf = Callable[[Path], ProcessingResult]
Failing = Callable[[int, int], None]
INDEX_FIRST = {"mp4": {"movflags": "+faststart"}}
UNREAD = 4096
"""Bytes of one sector that the disk does not give."""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    """From now on the bytes from `start` to `end` of each file cannot be read."""
    pread = os.pread

    def fail(start: int, end: int) -> None:
        def partly(fd: int, count: int, offset: int) -> bytes:
            if offset < end and start < offset + count:
                raise OSError(errno.EIO, "Input/output error")
            return pread(fd, count, offset)

        monkeypatch.setattr(os, "pread", partly)

    return fail


@pytest.mark.parametrize("extension", ["mp4", "mkv", "avi", "ts", "mxf", "flac", "mp3", "jpg", "gif", "heic"])
@pytest.mark.parametrize("place", [0.3, 0.7])
def test_a_sector_that_is_not_read_is_no_damage(
    shelf: Shelf, tmp_path: Path, survey_of: SurveyOf, failing: Failing, extension: str, place: float
) -> None:
    path = Path(shutil.copy(shelf.usual(extension), tmp_path))
    unread = min(UNREAD, path.stat().st_size // 4)
    start = int(path.stat().st_size * place)
    # FFmpeg reads by itself: what it makes of a sector that was not read is what it makes of one without content.
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(unread))
    failing(start, start + unread)

    with pytest.raises(StorageUnavailable, match="reading the media failed: input/output error"):
        survey_of(path)


def test_a_demuxer_that_takes_a_failed_read_for_the_end_is_not_believed(
    shelf: Shelf, tmp_path: Path, survey_of: SurveyOf, failing: Failing
) -> None:
    path = Path(shutil.copy(shelf.usual("ts"), tmp_path))
    end = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(188 * 3000))  # no packets, of which nothing is said
    whole = survey_of(path)
    failing(end + 1000, end + 2000)

    assert whole.damage == ()
    with pytest.raises(StorageUnavailable, match="reading the media failed"):
        survey_of(path)


@pytest.mark.parametrize("extension", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("wanted", [(1, False), (0, True)])
def test_what_cannot_be_extracted_for_a_failed_read_is_not_missing(
    shelf: Shelf,
    tmp_path: Path,
    failing: Failing,
    monkeypatch: pytest.MonkeyPatch,
    extension: str,
    wanted: tuple[int, bool],
) -> None:
    whole = shelf.video(f"indexed.{extension}", container_options=INDEX_FIRST.get(extension))
    path = tmp_path / whole.name
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    spans = [(0.0, 1.0, 0), (3.0, 4.0, 1)]
    monkeypatch.chdir(tmp_path)
    bounds = opening.Bounds(1 << 30, 1e6)

    def extracted() -> list[Any]:
        with opened(path) as fd:
            task = extracting.Task(fd, fd, spans, (), None, wanted[0], 640, wanted[1], 1 << 20)
            return list(extracting.extract_spans(task, bounds, lambda _: None))

    assert [one["warning"] is None for one in extracted()] == [True, False]
    failing(path.stat().st_size - 100, path.stat().st_size)
    with pytest.raises(StorageUnavailable, match="reading the media failed"):
        extracted()


def test_a_mended_file_that_cannot_be_read_is_no_damage(
    tmp_path: Path, survey_of: SurveyOf, failing: Failing
) -> None:
    path = tmp_path / "piped.wav"
    path.write_bytes(wav(riff=0xFFFFFFFF, data=0xFFFFFFFF))
    failing(60_000, 61_000)

    with pytest.raises(StorageUnavailable, match="reading the media failed: input/output error"):
        survey_of(path)


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.ESTALE, errno.ENOTCONN])
def test_a_share_that_goes_meanwhile_is_no_damage(
    shelf: Shelf, survey_of: SurveyOf, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    import av

    def gone(*_: object) -> None:
        av.error.err_check(-number)

    monkeypatch.setattr(reading, "next", gone, raising=False)

    with pytest.raises(StorageUnavailable, match="reading the media failed"):
        survey_of(shelf.usual("mp4"))


@pytest.mark.anyio
async def test_the_child_tells_what_could_not_be_read(tmp_path: Path, technical: Technical) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(StorageUnavailable, match="reading the media failed: is a directory"):
            await TechnicalProcessor(limits=technical.limits, work_dir=technical.work_dir).probe(fd)
    finally:
        os.close(fd)


def test_what_is_no_media_on_a_disk_that_works_stays_so(tmp_path: Path, survey_of: SurveyOf) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(5000))

    with pytest.raises(MediaUnreadable, match="not readable as media"):
        survey_of(path)
