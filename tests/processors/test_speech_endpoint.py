"""An endpoint that writes down speech: what it is sent, what is believed of its answers, what its failures mean."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import samples
from tests.chat_endpoint import Answer, Asked, ChatEndpoint, refused
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.processing import MemoryJournal, OpenLimiter, item_of
from vvwatch.config.transcription import EndpointTable
from vvwatch.core.money import CallStatus
from vvwatch.core.transcripts import Transcript, Word
from vvwatch.errors import ProcessorPaused, ProcessorUnavailable
from vvwatch.ports.processing import Prompt
from vvwatch.processors.media.cutting import Cutter
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.openai.endpoint import Address, Endpoint
from vvwatch.processors.transcription import pieces
from vvwatch.processors.transcription.endpoint import SpeechEndpoint

pytestmark = pytest.mark.anyio

VERBOSE = {
    "language": "english",
    "text": "one two",
    "segments": [
        {"start": 0.5, "end": 1.0, "text": " one", "no_speech_prob": 0.1, "avg_logprob": -0.2},
        {"start": 1.0, "end": 99.0, "text": " two", "no_speech_prob": 0.9, "avg_logprob": -0.2},
        {"start": 2.0, "end": 3.0, "text": "you", "no_speech_prob": 0.9, "avg_logprob": -1.5},
    ],
    "words": [{"start": 0.6, "end": 0.9, "word": "one"}, {"start": 1.1, "end": 1.5, "word": "two"}],
}


class QuickClock(FakeClock):
    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


class Desk:
    def __init__(self, folder: Path, endpoint: ChatEndpoint, clip: Path, **options: Any) -> None:
        table = EndpointTable(base_url=endpoint.url, model="whisper-1", usd_per_minute=0.6, **options)
        self.journal, self.limiter, self.clock = MemoryJournal(), OpenLimiter(), QuickClock()
        self.http = Endpoint(Address(endpoint.url), self.clock)
        cutter = Cutter(limits=Limits(), work_dir=folder)
        self.source = SpeechEndpoint(table, cutter, self.http, self.limiter, self.clock, lambda: 0.0)
        self.item = item_of(
            clip,
            Prompt("", {}, None),
            journal=self.journal,
            duration_seconds=4.0,
            probe={"audio_codec": "aac"},
        )

    async def find(self) -> Transcript | str:
        return await self.source.find(self.item, FakeStorage())


Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.audio(tmp_path_factory.mktemp("clip") / "clip.m4a")


@pytest.fixture
def opened(tmp_path: Path, clip: Path) -> Opened:
    @asynccontextmanager
    async def opened(answers: Any, **options: Any) -> AsyncIterator[tuple[Desk, ChatEndpoint]]:
        async with ChatEndpoint(answers).running() as endpoint:
            desk = Desk(tmp_path, endpoint, clip, **options)
            yield desk, endpoint
            await desk.source.aclose()

    return opened


def is_probe(asked: Asked) -> bool:
    return asked.key.endswith("-probe")


async def test_the_endpoint_gets_sound_and_its_answer_is_believed_as_far_as_it_can_be(opened: Opened) -> None:
    async with opened(lambda _: Answer(VERBOSE), language="en") as (desk, endpoint):
        found = await desk.find()
    [asked] = endpoint.asked
    assert asked.path == "/v1/audio/transcriptions"
    for name, value in {"model": "whisper-1", "response_format": "verbose_json", "language": "en"}.items():
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in asked.body
    assert b"RIFF" in asked.body
    assert isinstance(found, Transcript)
    assert [(cue.start_time, cue.end_time, cue.text) for cue in found.cues] == [
        (0.5, 1.0, "one"),
        (1.0, 4.0, "two"),
    ]
    assert found.cues[0].words == (Word(0.6, 0.9, "one"),)
    assert (found.language, found.origin) == ("en", "whisper-1")
    [(key, status, usage)] = desk.journal.ended
    assert (key, status) == (asked.key, CallStatus.COMPLETED)
    assert usage.cost_usd == pytest.approx(0.04, rel=0.02)


async def test_a_paid_answer_is_found_again(opened: Opened) -> None:
    async with opened(lambda _: Answer({"text": "one"})) as (desk, endpoint):
        first, second = await desk.find(), await desk.find()
    assert (first, len(endpoint.asked)) == (second, 1)
    assert isinstance(first, Transcript)
    assert [(cue.start_time, cue.end_time, cue.text) for cue in first.cues] == [(0.0, 4.0, "one")]


async def test_each_piece_is_a_call_and_its_times_are_those_of_the_item(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_LONGEST_SECONDS", 2)
    monkeypatch.setattr(pieces, "_SPAN_SECONDS", 1.0)
    answer = {"language": "de", "segments": [{"start": 0.1, "end": 0.2, "text": "da"}]}
    async with opened(lambda _: Answer(answer)) as (desk, endpoint):
        found = await desk.find()
    assert isinstance(found, Transcript)
    assert len(found.cues) == len(endpoint.asked) == len({asked.key for asked in endpoint.asked}) > 1
    starts = [intent.start_time for row in desk.journal.calls.values() for intent in row["intents"]]
    assert [cue.start_time for cue in found.cues] == pytest.approx(
        [start + 0.1 for start in starts], abs=0.01
    )
    assert (b'name="language"\r\n\r\nde' in endpoint.asked[1].body, found.language) == (True, "de")


async def test_another_model_that_answered_is_named(opened: Opened) -> None:
    async with opened(lambda _: Answer({"text": "one", "model": "/models/other.bin"})) as (desk, _):
        found = await desk.find()
    assert isinstance(found, Transcript)
    assert found.origin == "whisper-1 (answered by other.bin)"


async def test_where_nothing_is_said_no_language_is_named(opened: Opened) -> None:
    async with opened(lambda _: Answer({"text": "", "language": "english", "segments": []})) as (desk, _):
        found = await desk.find()
    assert isinstance(found, Transcript)
    assert (found.cues, found.language) == ((), None)


async def test_500_for_one_sound_is_its_own_fault_if_another_is_taken(opened: Opened) -> None:
    def answer(asked: Asked) -> Answer:
        return Answer({"text": ""}) if is_probe(asked) else refused(500, "cannot read it")

    async with opened(answer) as (desk, endpoint):
        found = await desk.find()
    assert found == "the endpoint refuses this sound: the endpoint answered 500: cannot read it"
    assert [is_probe(asked) for asked in endpoint.asked] == [False, False, False, True]
    assert [status for _, status, _ in desk.journal.ended] == [CallStatus.FAILED]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused(500, "down"), ProcessorUnavailable),
        (refused(429, "slowly", {"Retry-After": "3600"}), ProcessorUnavailable),
        (refused(401, "bad key"), ProcessorPaused),
        (refused(404, "model_not_found"), ProcessorPaused),
    ],
)
async def test_an_endpoint_that_is_away_is_waited_for(
    opened: Opened, answer: Answer, error: type[Exception]
) -> None:
    async with opened(lambda _: answer) as (desk, _):
        with pytest.raises(error) as raised:
            await desk.find()
    assert [status for _, status, _ in desk.journal.ended] == [CallStatus.FAILED]
    assert desk.limiter.paused == ([raised.value] if error is ProcessorPaused else [])


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_pauses_the_endpoint_and_says_what_to_correct(
    opened: Opened, status: int
) -> None:
    async with opened(lambda _: refused(status, "bad key")) as (desk, endpoint):
        with pytest.raises(ProcessorPaused):
            await desk.find()
    [paused] = desk.limiter.paused
    assert isinstance(paused, ProcessorPaused)
    assert paused.hint == "correct api_key_file or api_key_env of [transcription.endpoint]"
    assert len(endpoint.asked) == 1


async def test_what_is_sent_to_tell_a_bad_sound_from_a_bad_endpoint_has_the_key_of_its_call(
    opened: Opened,
) -> None:
    async with opened(lambda asked: Answer({"text": ""}) if is_probe(asked) else refused(500, "no")) as (
        desk,
        endpoint,
    ):
        await desk.find()
    assert {asked.key.removesuffix("-probe") for asked in endpoint.asked} == {desk.journal.ended[0][0]}


async def test_an_examination_sends_half_a_second_of_silence(opened: Opened) -> None:
    async with opened(lambda _: Answer({"text": ""})) as (desk, endpoint):
        assert await desk.source.examine() == ()
    [asked] = endpoint.asked
    assert asked.path == "/v1/audio/transcriptions"
    assert bytes(16_000) in asked.body
    assert bytes(16_500) not in asked.body
    assert desk.journal.calls == {}


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (refused(401, "bad key"), "correct api_key_file or api_key_env of [transcription.endpoint]"),
        (refused(500, "down"), "check that the endpoint is up, and that base_url is its address: "),
        (refused(404, "model_not_found"), "correct the model of [transcription.endpoint]"),
        (Answer(b"[]"), "check that the endpoint is up, and that base_url is its address: "),
    ],
)
async def test_an_examination_finds_what_keeps_the_endpoint_from_working(
    opened: Opened, answer: Answer, hint: str
) -> None:
    async with opened(lambda _: answer) as (desk, endpoint):
        [error] = await desk.source.examine()
    assert error.hint in (hint, hint + endpoint.url)
    assert desk.limiter.paused == []


async def test_a_busy_endpoint_is_asked_again(opened: Opened) -> None:
    answers = [refused(429, "slowly", {"Retry-After": "2"}), Answer({"text": "one"})]
    async with opened(lambda _: answers.pop(0)) as (desk, endpoint):
        assert isinstance(await desk.find(), Transcript)
    assert (desk.limiter.held_back, len({asked.key for asked in endpoint.asked})) == ([2.0], 1)


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{}", b"not json", b'{"text": 3}', b'{"segments": "x"}', b'{"text": null}'],
)
async def test_what_is_no_transcript_is_refused(opened: Opened, body: bytes) -> None:
    async with opened(lambda _: Answer(body)) as (desk, _):
        found = await desk.find()
    assert isinstance(found, str)
    assert "something else than a transcript" in found


@pytest.mark.parametrize(
    "segments",
    [
        [{"start": float("inf"), "end": 1, "text": "x"}, {"start": True, "end": 2, "text": "x"}, 3, None],
        [{"start": -5, "end": -3, "text": "x"}, {"start": 3e8, "end": 4e8, "text": "x"}],
        [{"start": 0, "end": 1, "text": ""}, {"start": 0, "text": "x"}],
    ],
)
async def test_times_that_cannot_be_are_left_out(opened: Opened, segments: list[Any]) -> None:
    async with opened(lambda _: Answer({"text": "x", "segments": segments, "words": "no"})) as (desk, _):
        found = await desk.find()
    assert isinstance(found, Transcript)
    assert found.cues == ()
