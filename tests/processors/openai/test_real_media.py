"""Real media through the confined cutter to an endpoint: what arrives there are pictures and sound that decode."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests import samples
from tests.chat_endpoint import Asked, said
from tests.processors.openai.conftest import GOOD, WITH_WHOLE, Rigs
from vvwatch.core.media import RunSettings
from vvwatch.processors.media.cutting import Cutter
from vvwatch.processors.media.isolation import Limits

pytestmark = pytest.mark.anyio

FIXED = RunSettings(
    video_segmentation_type="fixed",
    video_segment_duration=2,
    audio_segmentation_type="fixed",
    audio_segment_duration=2,
)


def video(folder: Path) -> Path:
    return samples.video(folder / "film.mp4", 4, cuts=(1.0,))


def song(folder: Path) -> Path:
    return samples.audio(folder / "song.mp3", 4)


def photograph(folder: Path) -> Path:
    return samples.image(folder / "photo.jpg")


KINDS: dict[str, tuple[Callable[[Path], Path], int]] = {
    "video": (video, 2),
    "audio": (song, 2),
    "image": (photograph, 1),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_model_is_shown_decodes(rig: Rigs, tmp_path: Path, kind: str) -> None:
    make, least = KINDS[kind]
    here = await rig(
        lambda asked: said(GOOD if parts(asked) else {"title": "x"}),
        WITH_WHOLE,
        path=make(tmp_path),
        settings=FIXED,
        cutter=Cutter(limits=Limits(), work_dir=tmp_path),
        media_type=kind,
        send_audio=True,
        frame_width=80,
    )
    result = await here.result()
    assert [segment.error for segment in result.segments] == [None] * len(result.segments)
    assert len(result.segments) >= least
    assert result.metadata == {"title": "x"}
    asked = [parts(each) for each in here.endpoint.chats if parts(each)]
    assert len(asked) == len(result.segments)
    for each in asked:
        pictures = [picture(part) for part in each if part["type"] == "image_url"]
        sounds = [sound(part) for part in each if part["type"] == "input_audio"]
        assert all(shown.width <= 80 for shown in pictures)
        assert (len(pictures) > 0, len(sounds)) == (kind != "audio", int(kind != "image"))
    total = sum(sound(part) for each in asked for part in each if part["type"] == "input_audio")
    assert total == pytest.approx(0 if kind == "image" else 4, abs=0.5)


def parts(asked: Asked) -> list[dict[str, Any]]:
    """The parts of a question that shows or plays something."""
    content = asked.body["messages"][1]["content"]
    return content if isinstance(content, list) else []


def picture(part: dict[str, Any]) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2])))
    image.load()
    assert image.format == "JPEG"
    return image


def sound(part: dict[str, Any]) -> float:
    with wave.open(io.BytesIO(base64.b64decode(part["input_audio"]["data"]))) as played:
        assert (played.getframerate(), played.getnchannels()) == (16_000, 1)
        seconds: float = played.getnframes() / played.getframerate()
    assert seconds < 2.5
    return seconds
