"""The result of the whole from the results of its segments: at once, or in parts that are then combined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from vvwatch.core.identities import WHOLE
from vvwatch.core.media import Segment
from vvwatch.ports.processing import Item
from vvwatch.processors.openai import prompting
from vvwatch.processors.openai.asking import Conversation, Outcome
from vvwatch.processors.openai.calls import Caller, Question
from vvwatch.processors.openai.costs import estimate_text_tokens
from vvwatch.processors.openai.troubles import Kind, Trouble

_PURPOSE: Final = "video_level"
_SPARE_TOKENS: Final = 500
_FEWEST_TOKENS: Final = 200
_MOST_ROUNDS: Final = 8


@dataclass(frozen=True, slots=True)
class _Piece:
    """One result as JSON: of the segments from `first` to `last`."""

    first: int
    last: int
    text: str

    @property
    def tokens(self) -> int:
        return estimate_text_tokens(self.text) + 1


class Synthesis:
    """Asks for the whole of one item."""

    def __init__(self, caller: Caller, conversation: Conversation, item: Item) -> None:
        level = item.prompt.video_level or {}
        self._caller = caller
        self._conversation = conversation
        self._item = item
        self._shape = caller.dialect.shape(level["json_schema"], "whole")
        self._task = str(level.get("instructions_text") or item.prompt.prompt_text)

    async def of(self, segments: Sequence[Segment]) -> Outcome:
        """Return the result, from all segments that have one."""
        pieces = [_make_piece(place, each) for place, each in enumerate(segments) if each.error is None]
        for _ in range(_MOST_ROUNDS):
            groups = _group_pieces(pieces, self._room())
            if len(groups) > 1 and len(groups) == len(pieces):
                return Outcome(None, "", "one segment's result alone is too long for the model's context")
            outcomes = []
            for group in groups:
                outcome = await self._part(group, is_all=len(groups) == 1)
                if outcome is None:  # too long for the model: now its length is known
                    break
                if outcome.metadata is None or len(groups) == 1:
                    return outcome
                outcomes.append(_Piece(group[0].first, group[-1].last, _join_pieces(group, outcome)))
            else:
                pieces = outcomes
        return Outcome(None, "", "the segments' results are too long for the model's context")

    def _room(self) -> int | None:
        """Return how many tokens of results fit into one request; None if unknown."""
        context = self._caller.dialect.context_tokens or self._caller.table.context_tokens
        if context is None:
            return None
        return max(_FEWEST_TOKENS, context - self._taken_tokens)

    @property
    def _taken_tokens(self) -> int:
        """Return the tokens of a request without results: the task, the schema, the answer."""
        fixed = self._caller.table.max_output_tokens + _SPARE_TOKENS
        return fixed + estimate_text_tokens(self._task) + estimate_text_tokens(self._shape.text)

    async def _part(self, pieces: Sequence[_Piece], *, is_all: bool) -> Outcome | None:
        try:
            return await self._conversation.result(self._question(pieces, is_all=is_all))
        except Trouble as trouble:
            if trouble.kind is not Kind.CONTEXT or len(pieces) == 1:
                return Outcome(None, "", trouble.message)
        sent = sum(piece.tokens for piece in pieces)
        self._caller.dialect.context_tokens = sent // 2 + self._taken_tokens
        return None

    def _question(self, pieces: Sequence[_Piece], *, is_all: bool) -> Question:
        first, last = pieces[0].first, pieces[-1].last
        about = prompting.encode_data({"file_name": self._item.title, "media_type": self._item.media_type})
        results = ",".join(piece.text for piece in pieces)
        said = f'The results of the segments, in order of time:\n<data>{{"about":{about},"results":[{results}]}}</data>'
        return Question(
            ordinal=WHOLE,
            purpose=_PURPOSE if is_all else f"{_PURPOSE}_{first}_{last}",
            shape=self._shape,
            task=self._task,
            messages=(prompting.user_message([prompting.text_part(said)]),),
            most_tokens=self._caller.table.max_output_tokens,
        )


def _make_piece(place: int, segment: Segment) -> _Piece:
    said: dict[str, Any] = {"start": round(segment.start_time, 3), "end": round(segment.end_time, 3)}
    return _Piece(place, place, prompting.encode_data({**said, "result": segment.metadata}))


def _join_pieces(group: Sequence[_Piece], outcome: Outcome) -> str:
    said = {"segments": [group[0].first + 1, group[-1].last + 1], "result": outcome.metadata}
    return prompting.encode_data(said)


def _group_pieces(pieces: Sequence[_Piece], room: int | None) -> list[list[_Piece]]:
    """Return the pieces in order, in groups that fit; an oversized one is its own group."""
    groups: list[list[_Piece]] = []
    left = 0
    for piece in pieces:
        if groups and (room is None or piece.tokens <= left):
            groups[-1].append(piece)
        else:
            groups.append([piece])
            left = room or 0
        left -= piece.tokens
    return groups
