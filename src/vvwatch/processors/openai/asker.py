"""Asks about one item: each segment from its pictures and its sound, then the whole from the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from vvwatch.core.media import Plan, Segment
from vvwatch.core.transcripts import cues_within
from vvwatch.errors import ProcessorRefused
from vvwatch.ports.processing import Item
from vvwatch.processors.media.cutting import Extract
from vvwatch.processors.openai import prompting
from vvwatch.processors.openai.asking import Conversation, Outcome, SegmentSpan, to_segment
from vvwatch.processors.openai.calls import Caller, Question
from vvwatch.processors.openai.synthesis import Synthesis
from vvwatch.processors.openai.troubles import Kind, Trouble
from vvwatch.processors.segmenting import Whole

_SEGMENT: Final = "segment"
_LONGEST_TRANSCRIPT: Final = 20_000
_FORGET_AFTER_SECONDS: Final = 600.0


class ModelInputs:
    """The inputs that the model refused by its own word; forgotten after ten minutes."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._refused: dict[Kind, tuple[float, ProcessorRefused]] = {}

    def check(self, *, pictures: bool, sound: bool) -> None:
        """Raise ProcessorRefused, without a call, for an input that was refused recently."""
        for kind, is_given in ((Kind.PICTURES, pictures), (Kind.SOUND, sound)):
            at, error = self._refused.get(kind, (None, None))
            if is_given and at is not None and error and self._monotonic() - at < _FORGET_AFTER_SECONDS:
                raise error

    def note_refusal(self, trouble: Trouble, model: str) -> ProcessorRefused:
        """Remember that pictures or sound were refused, and return the error."""
        if trouble.kind is Kind.PICTURES:
            what, hint = (
                "pictures",
                "name a model that does, or start its server with the part that sees (mmproj)",
            )
        else:
            what, hint = "sound", "name a model that does, or set send_audio = false"
        error = ProcessorRefused(f"the model {model!r} takes no {what}: {trouble.message}", hint)
        self._refused[trouble.kind] = (self._monotonic(), error)
        return error


def no_sound_error(item: Item) -> ProcessorRefused:
    """Return the error for an item with sound alone."""
    return ProcessorRefused(
        f"{item.title!r} has sound alone, and the processor sends no sound to its model",
        "set send_audio = true where the model takes sound, or give sound to another processor",
    )


class ItemAsker:
    """Implements `Asker` for one item."""

    def __init__(self, caller: Caller, senses: ModelInputs, item: Item) -> None:
        self._caller = caller
        self._senses = senses
        self._conversation = Conversation(caller)
        self._shape = caller.dialect.shape(item.prompt.json_schema, _SEGMENT)

    async def ask_segment(self, item: Item, plan: Plan, extract: Extract) -> Segment:
        """Return the segment with the model's result, already stored.

        Raises ProcessorRefused if the model takes no pictures or no sound.
        """
        span = SegmentSpan(extract.start_time, extract.end_time, extract.warning)
        table = self._caller.table
        if plan.probe is not None and plan.probe.media_type == "audio" and not table.send_audio:
            raise no_sound_error(item)
        if table.frames_per_segment and not extract.frames and extract.sound is None:
            return await self._keep_failure(
                item, extract.ordinal, span, "there is nothing of it to show to a model"
            )
        self._senses.check(pictures=bool(extract.frames), sound=extract.sound is not None)
        try:
            outcome = await self._outcome(item, plan, extract, span)
        except Trouble as trouble:
            if trouble.kind is not Kind.CONTEXT:
                raise self._senses.note_refusal(trouble, self._caller.model) from None
            return await self._keep_failure(item, extract.ordinal, span, trouble.message)
        return to_segment(outcome, span)

    async def ask_whole(self, item: Item, plan: Plan, segments: Sequence[Segment]) -> Whole:  # noqa: ARG002
        """Return the model's result of the whole; for a bad answer, with an error."""
        outcome = await Synthesis(self._caller, self._conversation, item).of(segments)
        if outcome.metadata is not None:
            return Whole(outcome.metadata, outcome.text)
        return Whole({}, outcome.text, error=outcome.error)

    async def _outcome(self, item: Item, plan: Plan, extract: Extract, span: SegmentSpan) -> Outcome:
        """Ask with all frames, and if that is too long for the model, once with half of them."""
        most = self._caller.dialect.most_frames
        frames = len(extract.frames) if most is None else min(most, len(extract.frames))
        try:
            return await self._conversation.result(self._question(item, plan, extract, frames), span)
        except Trouble as trouble:
            if trouble.kind is not Kind.CONTEXT or frames <= 1:
                raise
        self._caller.dialect.most_frames = frames // 2
        return await self._conversation.result(self._question(item, plan, extract, frames // 2), span)

    def _question(self, item: Item, plan: Plan, extract: Extract, frames: int) -> Question:
        return Question(
            ordinal=extract.ordinal,
            purpose=_SEGMENT,
            shape=self._shape,
            task=item.prompt.prompt_text,
            messages=(prompting.user_message(_build_parts(item, plan, extract, frames)),),
            most_tokens=self._caller.table.max_output_tokens,
            form="" if frames == len(extract.frames) else f"{frames} frames",
            span=(extract.start_time, extract.end_time),
        )

    async def _keep_failure(self, item: Item, ordinal: int, span: SegmentSpan, error: str) -> Segment:
        segment = to_segment(Outcome(None, "", error), span)
        await item.journal.keep_segment(ordinal, segment)
        return segment


def _build_parts(item: Item, plan: Plan, extract: Extract, most_frames: int) -> list[prompting.Part]:
    frames = _spread_frames(extract.frames, most_frames)
    parts = [prompting.data_part(_describe_segment(item, plan, extract))]
    for frame in frames:
        parts.append(prompting.text_part(f"The picture at {frame.at_seconds:.2f} s:"))
        parts.append(prompting.picture_part(frame.path.read_bytes()))
    if extract.sound is not None:
        parts += [prompting.text_part("The sound:"), prompting.sound_part(extract.sound.read_bytes())]
    return parts


def _describe_segment(item: Item, plan: Plan, extract: Extract) -> dict[str, Any]:
    about: dict[str, Any] = {"file_name": item.title, "media_type": item.media_type}
    if item.media_type == "image":
        return about
    times = {"start_seconds": round(extract.start_time, 3), "end_seconds": round(extract.end_time, 3)}
    about |= {"segment": extract.ordinal + 1, "segments": len(plan.spans), **times}
    said = item.transcript and cues_within(item.transcript.cues, extract.start_time, extract.end_time)
    return (
        {**about, "transcript": "\n".join(cue.text for cue in said)[:_LONGEST_TRANSCRIPT]} if said else about
    )


def _spread_frames(frames: Sequence[Any], most: int) -> list[Any]:
    """Return at most `most` frames, evenly spread over all of them."""
    if len(frames) <= most:
        return list(frames)
    return [frames[(2 * place + 1) * len(frames) // (2 * most)] for place in range(most)]
