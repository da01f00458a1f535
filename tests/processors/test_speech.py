"""A real voice, a real speech model: what is said, and when."""

from __future__ import annotations

import subprocess
import sys
import wave
from array import array
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import FakeStorage
from tests.processing import item_of
from tests.speech import model_dir, speak
from vvwatch.config.transcription import SpeechTable
from vvwatch.core.transcripts import Transcript
from vvwatch.errors import MediaLimit, ProcessorPaused
from vvwatch.ports.processing import Item, Prompt
from vvwatch.processors.media.cutting import Cutter
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.transcription import child, pieces, speech
from vvwatch.processors.transcription.pieces import RATE, read_pieces
from vvwatch.processors.transcription.speech import SpeechModel

pytestmark = pytest.mark.anyio

TEXT = "Good evening. This is the weather forecast for tomorrow."
PROMPT = Prompt("", {}, None)
FORBID = "import ctypes; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0; "  # PR_SET_MDWE


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> array[int]:
    """What the voice says, at 22,050 Hz."""
    path = speak(TEXT, tmp_path_factory.mktemp("voice") / "voice.wav")
    with wave.open(str(path)) as file:
        assert file.getframerate() == 22_050
        return array("h", file.readframes(file.getnframes()))


def write(path: Path, *channels: array[int], late: float = 0.0) -> Path:
    """A WAV file with these channels, which begin after `late` seconds of silence."""
    silence = array("h", bytes(2 * int(late * 22_050)))
    tracks = [silence + channel for channel in channels]
    frames = array("h", (value for values in zip(*tracks, strict=True) for value in values))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(22_050)
        file.writeframes(frames.tobytes())
    return path


def item_for(path: Path) -> Item:
    with wave.open(str(path)) as file:
        seconds = file.getnframes() / file.getframerate()
    return item_of(path, PROMPT, media_type="audio", duration_seconds=seconds, probe={"audio_codec": "pcm"})


def model(folder: Path, **options: Any) -> SpeechModel:
    table = SpeechTable(model_dir=options.pop("model_dir", None) or model_dir(), **options)
    return SpeechModel(table, Cutter(limits=Limits(), work_dir=folder), Limits(), folder)


def said(found: Transcript | str) -> str:
    assert isinstance(found, Transcript), found
    return " ".join(cue.text for cue in found.cues).lower()


async def test_speech_is_written_down_with_the_times_of_its_words(tmp_path: Path, voice: array[int]) -> None:
    path = write(tmp_path / "late.wav", voice, late=5.0)
    found = await model(tmp_path).find(item_for(path), FakeStorage())
    assert "weather forecast for tomorrow" in said(found)
    assert isinstance(found, Transcript)
    words = [word for cue in found.cues for word in cue.words]
    assert " ".join(word.text for word in words).lower() == said(found)
    assert words[0].start_time == pytest.approx(5.0, abs=0.4), "silence before it shifts nothing"
    assert found.cues[-1].end_time <= 5.0 + len(voice) / 22_050
    assert (found.language, found.source.value) == ("en", "speech")


async def test_opposite_channels_are_heard_though_their_mix_is_silent(
    tmp_path: Path, voice: array[int]
) -> None:
    path = write(tmp_path / "opposite.wav", voice, array("h", (max(-32_767, -value) for value in voice)))
    assert "weather forecast" in said(await model(tmp_path).find(item_for(path), FakeStorage()))


async def test_where_nothing_is_said_there_is_no_text_and_no_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hum = array("h", (((at % 100) - 50) * 20 for at in range(3 * 22_050)))
    found = await model(tmp_path).find(item_for(write(tmp_path / "hum.wav", hum)), FakeStorage())
    assert isinstance(found, Transcript)
    assert (found.cues, found.language) == ((), None)
    monkeypatch.setattr(SpeechModel, "_listen", None)
    silent = write(tmp_path / "silent.wav", array("h", bytes(2 * 22_050)))
    found = await model(tmp_path).find(item_for(silent), FakeStorage())
    assert isinstance(found, Transcript), "no model is asked about silence"


def test_words_that_the_model_is_sure_of_are_kept_though_their_window_looks_silent() -> None:
    def segment(silent: float, sure: float) -> SimpleNamespace:
        word = SimpleNamespace(start=0.0, end=1.0, word=" yes")
        return SimpleNamespace(words=[word], text=" yes", end=1.0, no_speech_prob=silent, avg_logprob=sure)

    said = [segment(0.9, -0.3), segment(0.2, -1.5), segment(0.9, -1.5)]
    assert len(list(child._list_cues(said, 2.0))) == 2


async def test_long_sound_is_cut_where_it_is_quiet_and_loses_nothing(
    tmp_path: Path, voice: array[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_LONGEST_SECONDS", 8)
    monkeypatch.setattr(pieces, "_SPAN_SECONDS", 4.0)
    pause = array("h", bytes(2 * 22_050 * 3))
    path = write(tmp_path / "long.wav", voice + pause + voice + pause + voice)
    found = [piece async for piece in read_pieces(Cutter(limits=Limits(), work_dir=tmp_path), item_for(path))]
    assert len(found) > 1
    ends = [piece.start_time + piece.seconds for piece in found]
    assert [piece.start_time for piece in found] == pytest.approx([0.0, *ends[:-1]])
    assert ends[-1] == pytest.approx(item_for(path).duration_seconds, abs=0.001)
    for piece in found[:-1]:
        border = array("h", piece.samples[-RATE // 8 * 2 :])
        assert max(map(abs, border)) < 200, "words are not cut"
    transcript = await model(tmp_path).find(item_for(path), FakeStorage())
    assert said(transcript).count("forecast") == 3


async def test_without_sound_nothing_is_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", array("h", [0]))
    item = replace(item_for(path), probe={"audio_codec": None})
    path.unlink()
    assert await model(tmp_path).find(item, FakeStorage()) == "no sound"
    assert await model(tmp_path).find(replace(item, probe={}, duration_seconds=None), FakeStorage()) == (
        "its length is unknown"
    )


async def test_a_model_that_is_none_makes_items_wait(tmp_path: Path, voice: array[int]) -> None:
    item = item_for(write(tmp_path / "a.wav", voice))
    with pytest.raises(ProcessorPaused, match="the speech model failed"):
        await model(tmp_path, model_dir=tmp_path).find(item, FakeStorage())


async def test_a_process_that_takes_too_much_fails_its_item_alone(
    tmp_path: Path, voice: array[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "_SPARE_SECONDS", 1)
    item = item_for(write(tmp_path / "a.wav", voice))
    with pytest.raises(MediaLimit, match="CPU"):
        await model(tmp_path, cpu_per_second=0.1).find(item, FakeStorage())


def kernel_forbids() -> bool:
    return subprocess.run([sys.executable, "-c", FORBID], check=False, capture_output=True).returncode == 0


async def test_under_the_setting_of_the_unit_it_says_what_to_do(
    tmp_path: Path, voice: array[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernel_forbids():
        pytest.skip("NOT TESTED: the kernel has no PR_SET_MDWE (Linux 6.3)")
    command = (*speech._COMMAND[:3], FORBID + speech._COMMAND[3], *speech._COMMAND[4:])
    monkeypatch.setattr(speech, "_COMMAND", command)
    item = item_for(write(tmp_path / "a.wav", voice))
    with pytest.raises(ProcessorPaused, match=r"MemoryDenyWriteExecute.*systemd/40-speech\.conf"):
        await model(tmp_path).find(item, FakeStorage())
