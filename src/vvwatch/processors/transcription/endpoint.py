"""A speech model behind an endpoint with OpenAI's `/audio/transcriptions`.

Each piece of sound is a call in the item's journal: its answer survives a crash, and no piece is paid twice.
"""

from __future__ import annotations

import io
import json
import math
import random
import wave
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import anyio.to_thread

from vvwatch.config.transcription import EndpointTable
from vvwatch.core.cues import repair_cues, to_language, to_plain_text
from vvwatch.core.identities import WHOLE
from vvwatch.core.money import CallStatus, Usage
from vvwatch.core.retries import backoff_seconds
from vvwatch.core.transcripts import Cue, Transcript, TranscriptSource, Word
from vvwatch.errors import ProcessorError, ProcessorPaused, ProcessorUnavailable, VvwatchError
from vvwatch.ports import Clock, Storage
from vvwatch.ports.processing import Call, CallIntent, Examinable, Item, Limiter
from vvwatch.processors.media.cutting import Cutter
from vvwatch.processors.openai.endpoint import Endpoint
from vvwatch.processors.openai.replies import parse_body
from vvwatch.processors.openai.troubles import Kind, Trouble
from vvwatch.processors.transcription.pieces import RATE, SAMPLE_BYTES, Piece, describe_track, read_pieces
from vvwatch.processors.transcription.speech import explain_no_sound

PURPOSE: Final = "transcription"
_TRIES: Final[Mapping[Kind, int]] = {Kind.BUSY: 6, Kind.AWAY: 3, Kind.GARBLED: 2}
_LONGEST_WAIT_SECONDS: Final = 60.0
_LIKELY_SILENT: Final = 0.6
_UNSURE: Final = -1.0
_MOST_WORDS: Final = 200_000
_MENDS: Final[Mapping[Kind, str]] = {
    Kind.KEY: "correct api_key_file or api_key_env of [transcription.endpoint]",
    Kind.MONEY: "top up the account or raise its limit, then resume the processor",
    Kind.ADDRESS: "set base_url of [transcription.endpoint] to the address that the endpoint really has",
    Kind.MODEL: "correct the model of [transcription.endpoint]",
}
"""What nothing but a person corrects."""

_EXAMINATION_KEY: Final = "vvwatch-doctor"
_UP: Final = "check that it is up, and its own log; it is asked again automatically"
_CODES: Final = {
    "chinese": "zh", "dutch": "nl", "english": "en", "french": "fr", "german": "de", "hindi": "hi", "italian": "it",
    "japanese": "ja", "korean": "ko", "polish": "pl", "portuguese": "pt", "russian": "ru", "spanish": "es",
    "swedish": "sv", "turkish": "tr", "ukrainian": "uk",
}  # fmt: skip
"""Some servers name the language instead of its code."""

_SILENCE: Final = Piece(0.0, bytes(RATE // 2 * SAMPLE_BYTES))
_Said = Mapping[str, Any]


class _Refused(Exception):
    """The endpoint never takes this sound; the text says why."""


@dataclass(frozen=True)
class SpeechEndpoint:
    """Implements `Source`. Waits for short troubles; an item waits for longer ones."""

    table: EndpointTable
    cutter: Cutter
    endpoint: Endpoint
    limiter: Limiter
    clock: Clock
    sample: Callable[[], float] = random.random
    name = TranscriptSource.ENDPOINT

    async def find(self, item: Item, storage: Storage) -> Transcript | str:  # noqa: ARG002
        """Return what the endpoint hears; without speech a transcript without cues.

        Raises MediaError, StorageUnavailable, MachineShortage, ProcessorUnavailable, ProcessorPaused, and the errors of
        the journal.
        """
        if why := explain_no_sound(item):
            return why
        cues: list[Cue] = []
        language, models, track = self.table.language, {self.table.model}, None
        async with aclosing(read_pieces(self.cutter, item)) as pieces:
            number = 0
            async for piece in pieces:
                track = piece.track
                try:
                    said = await self._ask(item, piece, number, language)
                except _Refused as error:
                    return str(error)
                cues += await anyio.to_thread.run_sync(_to_cues, said, piece)
                language, number = language or (said["language"] if said["cues"] else None), number + 1
                models |= {said["model"]} if said["model"] else set()
        repaired = await anyio.to_thread.run_sync(repair_cues, cues, item.duration_seconds)
        others = sorted(models - {self.table.model})
        origin = self.table.model + (f" (answered by {', '.join(others)})" if others else "")
        origin += describe_track(track)
        return Transcript(self.name, to_plain_text(origin), language if repaired else None, repaired)

    async def examine(self) -> tuple[ProcessorError, ...]:
        """Return the problems found, each with a remedy. Sends half a second of silence, also while it is paused."""
        try:
            _read_said(await self._exchange(_SILENCE, _EXAMINATION_KEY, None), _SILENCE.seconds)
        except Trouble as trouble:
            up = f"check that the endpoint is up, and that base_url is its address: {self.table.base_url}"
            return (ProcessorError(trouble.message, _MENDS.get(trouble.kind, up)),)
        return ()

    async def aclose(self) -> None:
        """Close all connections."""
        await self.endpoint.aclose()

    async def _ask(self, item: Item, piece: Piece, number: int, language: str | None) -> _Said:
        """Return what is said in a piece, as recorded or new."""
        price = self.table.usd_per_minute
        usage = Usage(cost_usd=None if price is None else price * piece.seconds / 60)
        times = piece.start_time, piece.start_time + piece.seconds
        intent = CallIntent(WHOLE, PURPOSE, number, self.table.model, usage, "", *times)
        call = await item.journal.begin_call(intent)
        if call.answer is not None:
            recorded: _Said = json.loads(call.answer)
            return recorded
        lost = Usage(cost_usd=0.0)
        troubles: list[Kind] = []
        while True:
            try:
                said = await self._send(piece, call.key, language)
            except VvwatchError:
                await item.journal.end_call(call, CallStatus.FAILED, lost, error="not sent")
                raise
            except Trouble as trouble:
                lost = usage if trouble.is_paid else lost
                troubles.append(trouble.kind)
                await self._wait_out(item, call, trouble, troubles, lost)
                continue
            answer = json.dumps(said)
            await item.journal.end_call(call, CallStatus.COMPLETED, usage, answer=answer, model=said["model"])
            return said

    async def _send(self, piece: Piece, key: str, language: str | None) -> _Said:
        async with self.limiter.slot():
            content = await self._exchange(piece, key, language)
        return await anyio.to_thread.run_sync(_read_said, content, piece.seconds)

    async def _exchange(self, piece: Piece, key: str, language: str | None) -> bytes:
        fields: dict[str, Any] = {
            "model": self.table.model,
            "response_format": "verbose_json",
            "temperature": "0",
            "timestamp_granularities[]": ["segment", "word"],
            **({"language": language} if language else {}),
        }
        sound = await anyio.to_thread.run_sync(_to_wave, piece.samples)
        return await self.endpoint.transcribe(fields, sound, key)

    async def _wait_out(
        self, item: Item, call: Call, trouble: Trouble, troubles: Sequence[Kind], lost: Usage
    ) -> None:
        """Return when it is time to try again; else end the call and raise."""
        tries = _TRIES.get(trouble.kind, 0)
        asked = trouble.retry_after_seconds
        pause = backoff_seconds(
            len(troubles), base_seconds=1.0, cap_seconds=_LONGEST_WAIT_SECONDS, sample=self.sample()
        )
        seconds = pause if asked is None else asked
        if trouble.kind is Kind.BUSY:
            self.limiter.hold_back(seconds)
        if troubles.count(trouble.kind) < tries and seconds <= _LONGEST_WAIT_SECONDS:
            await self.clock.sleep(seconds)
            return
        error = await self._judge(trouble, call)
        await item.journal.end_call(call, CallStatus.FAILED, lost, error=trouble.message)
        if isinstance(error, ProcessorPaused):
            await self.limiter.pause(error)
        raise error

    async def _judge(self, trouble: Trouble, call: Call) -> ProcessorError | _Refused:
        """Return why it is given up: the endpoint, or, if it takes another sound, this one."""
        if trouble.kind in _MENDS:
            return ProcessorPaused(trouble.message, _MENDS[trouble.kind])
        away = ProcessorUnavailable(trouble.message, _UP, trouble.retry_after_seconds)
        if trouble.kind is Kind.BUSY:
            return away
        if trouble.kind is Kind.AWAY:
            try:  # some answer 500 to what they can never read
                await self._send(_SILENCE, f"{call.key}-probe", None)
            except (Trouble, VvwatchError):
                return away
        return _Refused(f"the endpoint refuses this sound: {trouble.message}")


_is_examinable: type[Examinable] = SpeechEndpoint


def _to_wave(samples: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(SAMPLE_BYTES)
        out.setframerate(RATE)
        out.writeframes(samples)
    return file.getvalue()


def _read_said(content: bytes, seconds: float) -> _Said:
    """Return `language`, `model` and `cues` of an answer. Raises Trouble."""
    said = parse_body(content)
    said = said if isinstance(said, dict) else {}
    segments, text, words = said.get("segments"), said.get("text"), _read_words(said.get("words"))
    if isinstance(segments, list):
        cues = [cue for each in segments if (cue := _read_segment(each, words)) is not None]
    elif isinstance(text, str):
        cues = [[0.0, seconds, plain, words]] if (plain := to_plain_text(text)) else []
    else:
        raise Trouble(Kind.GARBLED, "the endpoint answered with something else than a transcript")
    name, model = said.get("language"), said.get("model")
    code = _CODES.get(name.lower(), name) if isinstance(name, str) else None
    return {
        "language": to_language(code) if code and len(code.partition("-")[0]) <= len("und") else None,
        "model": to_plain_text(model).rpartition("/")[2][:200] if isinstance(model, str) else None,
        "cues": cues,
    }


def _read_segment(said: Any, words: Sequence[list[Any]]) -> list[Any] | None:
    """Return a cue; None for one that says nothing or that the model itself takes for silence."""
    if not isinstance(said, dict):
        return None
    start, end = _to_seconds(said.get("start")), _to_seconds(said.get("end"))
    text = to_plain_text(str(said.get("text", "")))
    silent, sure = _to_seconds(said.get("no_speech_prob")), _to_seconds(said.get("avg_logprob"))
    if start is None or end is None or not text:
        return None
    if (silent or 0.0) > _LIKELY_SILENT and (sure or 0.0) < _UNSURE:
        return None
    own = _read_words(said.get("words")) or [word for word in words if start <= word[0] < end]
    return [start, end, text, own]


def _read_words(said: Any) -> list[list[Any]]:
    found = []
    for each in said[:_MOST_WORDS] if isinstance(said, list) else ():
        if isinstance(each, dict):
            start, end = _to_seconds(each.get("start")), _to_seconds(each.get("end"))
            text = to_plain_text(str(each.get("word", "")))
            if start is not None and end is not None and text:
                found.append([start, end, text])
    return found


def _to_seconds(said: Any) -> float | None:
    is_number = isinstance(said, int | float) and not isinstance(said, bool)
    return float(said) if is_number and math.isfinite(said) and abs(said) < 1e9 else None


def _to_cues(said: _Said, piece: Piece) -> list[Cue]:
    """Return the cues at their times in the item, within the piece."""
    begin = piece.start_time

    def place(at: float) -> float:
        return begin + min(max(at, 0.0), piece.seconds)

    return [
        Cue(place(start), place(end), text, tuple(Word(place(a), place(b), word) for a, b, word in words))
        for start, end, text, words in said["cues"]
    ]
