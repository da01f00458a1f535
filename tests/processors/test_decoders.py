"""Only decoders that somebody chose are given the bytes of strangers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from tests.processors.conftest import Technical, opened
from tests.processors.recordings import record
from vvwatch.errors import MediaUnsupported
from vvwatch.processors.media import opening
from vvwatch.processors.media.decoders import DECODERS, restrict_decoders

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs" / "media.md"


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec that this FFmpeg can decode, in a container that is accepted."""
    path = tmp_path_factory.mktemp("rare") / "a.avi"
    return record(path, [0.0, 0.1, 0.2], codec="asv1")


async def test_what_has_another_decoder_is_unsupported_and_says_what_to_do(
    technical: Technical, rare: Path
) -> None:
    with pytest.raises(MediaUnsupported, match="another codec") as refused:
        await technical.probe(rare)

    assert "codec" in refused.value.hint


async def test_sound_beside_it_does_not_make_a_video_of_it(technical: Technical, tmp_path: Path) -> None:
    path = record(tmp_path / "a.avi", [0.0, 0.1, 0.2], [[0.0, 0.02]], codec="asv1", sound_codec="pcm_s16le")

    with pytest.raises(MediaUnsupported, match="pictures of this video"):
        await technical.probe(path)


def test_ffmpeg_itself_opens_no_other_decoder(rare: Path) -> None:
    bounds = opening.Bounds(1 << 30, 1e6)
    with opened(rare) as fd, pytest.raises(MediaUnsupported), opening.open_media(fd, bounds):
        pass
    with av.open(str(rare)) as container:
        packet: Any = next(container.demux())
        assert packet.decode()
    with av.open(str(rare)) as container:
        restrict_decoders(container)
        packet = next(container.demux())
        with pytest.raises(ValueError, match="Invalid argument"):
            packet.decode()


def test_every_name_is_a_decoder_of_this_ffmpeg() -> None:
    """A misspelt name would take away a decoder without a word."""
    assert DECODERS - av.codecs_available == set()
    assert len(DECODERS) < len(av.codecs_available) / 3


def test_the_documentation_lists_them() -> None:
    text = DOCS.read_text(encoding="utf-8")
    section = text.partition("## Decoders")[2].partition("\n## ")[0]

    assert set(section.partition("```")[2].partition("```")[0].split()) == DECODERS
