"""Asks until the answer fits: once more with more room, once more with the errors of the first answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vvwatch.core.media import Segment
from vvwatch.processors.openai import prompting
from vvwatch.processors.openai.answers import read_object
from vvwatch.processors.openai.calls import Caller, Failed, Question
from vvwatch.processors.openai.coercion import coerce_answer
from vvwatch.processors.openai.dialect import Shape
from vvwatch.processors.openai.replies import Reply
from vvwatch.processors.openai.troubles import Kind
from vvwatch.processors.validation import call_in_thread, validate

_LONGEST_ERROR: Final = 1000
_LONGEST_TEXT: Final = 20_000
_ROOMIER: Final = 4
_MISFIT: Final = "the answer does not fit the schema: "


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a question: metadata that fit the schema, or the reason for none, and the model's text."""

    metadata: dict[str, Any] | None
    text: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SegmentSpan:
    """The segment of an outcome, and what could not be extracted from it."""

    start: float
    end: float
    warning: str | None = None


class Conversation:
    """Asks a model until there is an outcome."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def result(self, question: Question, span: SegmentSpan | None = None) -> Outcome:
        """Return the recorded outcome; with `span`, as a segment of the item.

        Raises Trouble if another request might help: a shorter one, or one without pictures. Its call is closed.
        """
        means, text = {"room", "errors"}, ""
        while True:
            said = await self._caller.ask(question)
            if isinstance(said, Failed):
                return await self._handle_failure(said, question, span, text)
            text = said.reply.text
            outcome = await call_in_thread(len(text), _to_outcome, said.reply, question.shape)
            mean = _describe_problem(said.reply, outcome)
            if mean not in means:
                await self._caller.keep(said, _segment_to_keep(question, outcome, span))
                return outcome
            means.remove(mean)
            await self._caller.keep(said)
            question = _ask_again(question, said.reply, outcome, mean)

    async def _handle_failure(
        self, said: Failed, question: Question, span: SegmentSpan | None, text: str
    ) -> Outcome:
        if said.trouble.kind in {Kind.CONTEXT, Kind.PICTURES, Kind.SOUND}:
            await self._caller.end(said.call, said.trouble)
            raise said.trouble
        outcome = Outcome(None, text, said.trouble.message)
        await self._caller.end(said.call, said.trouble, _segment_to_keep(question, outcome, span))
        return outcome


def _describe_problem(reply: Reply, outcome: Outcome) -> str:
    """Return what may lead to a better answer; empty if it is good or was refused."""
    if outcome.error is None or reply.refusal is not None:
        return ""
    return "room" if reply.is_cut else "errors"


def _ask_again(question: Question, reply: Reply, outcome: Outcome, mean: str) -> Question:
    if mean == "room":
        return question.again(most_tokens=question.most_tokens * _ROOMIER)
    return question.again(
        prompting.correction_messages(reply.text, (outcome.error or "").removeprefix(_MISFIT).split("\n"))
    )


def _segment_to_keep(
    question: Question, outcome: Outcome, span: SegmentSpan | None
) -> tuple[int, Segment] | None:
    return None if span is None else (question.ordinal, to_segment(outcome, span))


def to_segment(outcome: Outcome, span: SegmentSpan) -> Segment:
    """Return the outcome as a segment; if it failed, without metadata and with the model's text."""
    text = outcome.text if outcome.error is None else outcome.text[:_LONGEST_TEXT]
    return Segment(span.start, span.end, outcome.metadata or {}, text, span.warning, outcome.error)


def _to_outcome(reply: Reply, shape: Shape) -> Outcome:
    if reply.refusal is not None:
        return Outcome(None, reply.text, reply.refusal)
    try:
        metadata = coerce_answer(read_object(reply.text), shape.schema)
        if misfits := validate(shape.schema, metadata):
            raise ValueError(_MISFIT + "\n".join(misfits))  # reported like an answer that is not JSON
    except ValueError as error:
        cut = "the answer was cut off: it is longer than max_output_tokens allows\n" if reply.is_cut else ""
        return Outcome(None, reply.text, f"{cut}{error}"[:_LONGEST_ERROR])
    return Outcome(metadata, prompting.metadata_to_text(metadata))
