"""Calls to a model: each is in the journal before it is made and when it ended, and none is paid twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from vvwatch.config.processors import OpenAIProcessor
from vvwatch.core.media import Segment
from vvwatch.core.money import CallStatus, Usage
from vvwatch.core.retries import backoff_seconds
from vvwatch.errors import ProcessorPaused, ProcessorUnavailable, VvwatchError
from vvwatch.ports import Clock
from vvwatch.ports.processing import Call, CallIntent, Journal, Limiter
from vvwatch.processors.openai.costs import estimate_request_tokens, estimate_usage, reported_usage
from vvwatch.processors.openai.dialect import Dialect, Rung, Shape
from vvwatch.processors.openai.endpoint import Endpoint
from vvwatch.processors.openai.prompting import Message, build_instructions
from vvwatch.processors.openai.replies import Reply
from vvwatch.processors.openai.troubles import Kind, Trouble

_TRIES: Final[Mapping[Kind, int]] = {Kind.BUSY: 8, Kind.AWAY: 3, Kind.GARBLED: 2}
_MOST_TRIES: Final = 9
_MENDS: Final[Mapping[Kind, str]] = {
    Kind.KEY: "correct api_key_file or api_key_env of the processor; check that the key may use this model",
    Kind.MONEY: "top up the account or raise its limit, then resume the processor",
    Kind.ADDRESS: "set base_url to the address that the endpoint really has",
    Kind.MODEL: "correct model of the processor, or let its endpoint fetch it (ollama pull MODEL)",
}
"""The remedies for troubles that pause the processor."""
_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 60.0
_STALE_SECONDS: Final = 1.0
"""After this long, the journal is asked again before a call is made."""
_UNCOUNTED: Final = "the endpoint does not say what it used: tokens and cost are estimated"
_COUNTED: Final = "what it may have cost is counted"
_NOTHING: Final = Usage(cost_usd=0.0)


@dataclass(frozen=True, slots=True)
class Question:
    """A question: its segment, its purpose, its step, and its messages."""

    ordinal: int
    purpose: str
    shape: Shape
    task: str
    messages: tuple[Message, ...]
    step: int = 0
    most_tokens: int = 0
    form: str = ""
    span: tuple[float, float] | None = None

    def again(self, messages: Sequence[Message] = (), most_tokens: int | None = None) -> Question:
        """Return the next question after an answer: with further messages, or with room for a longer answer."""
        return replace(
            self,
            step=self.step + 1,
            messages=(*self.messages, *messages),
            most_tokens=self.most_tokens if most_tokens is None else most_tokens,
        )


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer whose call is still open in the journal; `call` is None for an answer from before a restart."""

    reply: Reply
    call: Call | None = None
    usage: Usage = _NOTHING


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that is always refused; its call is still open in the journal."""

    trouble: Trouble
    call: Call


@dataclass(slots=True)
class _LostTries:
    """The possible cost of a call's unanswered tries: they share a key, so it counts once."""

    estimate: Usage
    is_paid: bool = False

    def add_cost(self, trouble: Trouble) -> Trouble:
        """Return the trouble with its possible cost, or that of an earlier try."""
        trouble.is_paid = self.is_paid = self.is_paid or trouble.is_paid
        if trouble.is_paid:
            trouble.usage = self.estimate
        return trouble


class Caller:
    """Asks one model for one item. Waits for its turn and for short troubles; raises longer ones."""

    def __init__(
        self,
        table: OpenAIProcessor,
        model: str,
        endpoint: Endpoint,
        dialect: Dialect,
        limiter: Limiter,
        journal: Journal,
        clock: Clock,
        sample: Callable[[], float],
    ) -> None:
        self.table = table
        self.model = model
        self.dialect = dialect
        self._endpoint = endpoint
        self._limiter = limiter
        self._journal = journal
        self._clock = clock
        self._sample = sample

    async def ask(self, question: Question) -> Answered | Failed:
        """Return the answer, recorded or new, by the strictest form of request that the endpoint takes.

        Raises ProcessorUnavailable, ProcessorPaused, and the errors of the journal and the limiter.
        """
        while True:
            rung = question.shape.rung
            body = self._body(question, rung)
            estimate = self._estimate(body, question)
            intent = self._intent(question, body, rung, estimate)
            begun_at = self._clock.monotonic()
            call = await self._journal.begin_call(intent)
            if call.answer is not None:
                return Answered(Reply.from_record(call.answer))
            try:
                reply = await self._exchange(call, body, intent, begun_at)
            except Trouble as trouble:
                if not self._steps_down(question.shape, rung, body, trouble):
                    return Failed(trouble, call)
                await self.end(call, trouble)
                continue
            return Answered(reply, call, reported_usage(self.table, self.model, reply, estimate))

    async def keep(self, answered: Answered, segment: tuple[int, Segment] | None = None) -> None:
        """Record the answer, and its result in the same transaction."""
        if answered.call is not None:
            reply = answered.reply
            await self._journal.end_call(
                answered.call,
                CallStatus.COMPLETED,
                answered.usage,
                answer=reply.to_record(),
                error=None if reply.is_counted else _UNCOUNTED,
                model=reply.model,
                segment=segment,
            )
        elif segment is not None:
            await self._journal.keep_segment(*segment)

    async def end(self, call: Call, trouble: Trouble, segment: tuple[int, Segment] | None = None) -> None:
        """Record that a call was refused, and its possible cost."""
        error = f"{trouble.message}; {_COUNTED}" if trouble.is_paid else trouble.message
        await self._journal.end_call(call, CallStatus.FAILED, trouble.usage, error=error, segment=segment)

    def _body(self, question: Question, rung: Rung) -> dict[str, Any]:
        instructions = build_instructions(question.task, question.shape, rung)
        wanted = question.shape.response_format(rung)
        return {
            "model": self.model,
            "messages": [instructions, *question.messages],
            **self.dialect.parameters(question.most_tokens),
            **({} if wanted is None else {"response_format": wanted}),
        }

    def _estimate(self, body: Mapping[str, Any], question: Question) -> Usage:
        tokens = estimate_request_tokens(body["messages"], self.table.frame_width)
        return estimate_usage(self.table, self.model, tokens, question.most_tokens)

    def _intent(self, question: Question, body: Mapping[str, Any], rung: Rung, estimate: Usage) -> CallIntent:
        start, end = question.span or (None, None)
        left_out = sorted({"temperature", "max_tokens"} - body.keys())
        variant = " ".join(
            filter(None, (rung.name.lower(), question.form, *(f"-{each}" for each in left_out)))
        )
        return CallIntent(
            question.ordinal, question.purpose, question.step, self.model, estimate, variant, start, end
        )

    def _steps_down(self, shape: Shape, rung: Rung, body: Mapping[str, Any], trouble: Trouble) -> bool:
        if trouble.kind is Kind.FORMAT:
            return shape.step_down(rung)
        return self.dialect.learn(trouble, body)

    async def _exchange(
        self, call: Call, body: Mapping[str, Any], intent: CallIntent, begun_at: float
    ) -> Reply:
        """Send until there is an answer. Raises Trouble for a request that cannot succeed."""
        tokens = intent.estimate.input_tokens + intent.estimate.output_tokens
        troubles: list[Kind] = []
        lost = _LostTries(intent.estimate)
        while True:
            try:
                return await self._send_in_turn(call, body, intent, tokens, begun_at)
            except VvwatchError as error:  # there was no turn for it
                await self.end(call, lost.add_cost(Trouble(Kind.AWAY, f"not sent: {error.message}")))
                raise
            except Trouble as trouble:
                troubles.append(trouble.kind)
                await self._wait_out(call, lost.add_cost(trouble), troubles)

    async def _send_in_turn(
        self, call: Call, body: Mapping[str, Any], intent: CallIntent, tokens: int, asked_at: float
    ) -> Reply:
        """Wait for a turn, and send.

        After a long wait or a freeze, asks the journal again: the run may be cancelled, or the item belong to another
        process. If the journal is slow, the turn has passed to others.
        """
        while True:
            async with self._limiter.slot(tokens):
                turn_at = self._clock.monotonic()
                if turn_at - asked_at > _STALE_SECONDS:
                    await self._journal.begin_call(intent)
                    asked_at = self._clock.monotonic()
                if self._clock.monotonic() - turn_at <= _STALE_SECONDS:
                    return await self._endpoint.chat(body, call.key)

    async def _wait_out(self, call: Call, trouble: Trouble, troubles: Sequence[Kind]) -> None:
        """Return when it is time to try again; raise if that is too late. `troubles` are those so far."""
        if trouble.kind in _MENDS:
            raise await self._pause(call, trouble)
        tries = _TRIES.get(trouble.kind)
        is_enough = tries is not None and (
            troubles.count(trouble.kind) >= tries or len(troubles) >= _MOST_TRIES
        )
        if tries is None or (is_enough and trouble.kind is Kind.GARBLED):
            raise trouble
        asked = trouble.retry_after_seconds
        seconds = asked if asked is not None else self._usual_wait(len(troubles))
        if trouble.kind is Kind.BUSY or asked is not None:
            self._limiter.hold_back(seconds)
        if is_enough or seconds > _LONGEST_WAIT_SECONDS:
            await self.end(call, trouble)
            hint = "it is called again automatically; check that it is up, and its own log"
            raise ProcessorUnavailable(trouble.message, hint, asked)
        await self._clock.sleep(seconds)

    def _usual_wait(self, attempt: int) -> float:
        return backoff_seconds(
            attempt,
            base_seconds=_FIRST_WAIT_SECONDS,
            cap_seconds=_LONGEST_WAIT_SECONDS,
            sample=self._sample(),
        )

    async def _pause(self, call: Call, trouble: Trouble) -> ProcessorPaused:
        error = ProcessorPaused(trouble.message, _MENDS[trouble.kind])
        await self.end(call, trouble)
        await self._limiter.pause(error)
        return error
