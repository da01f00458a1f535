"""Alerts to people: which problems a receiver hears of now, grouped, not too often, and when they are over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

MOST_LISTED: Final = 20
"""How many problems a message lists; the others are counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What needs attention: `key` is the same as long as it is the same problem. `since` is ISO-8601."""

    key: str
    kind: str
    what: str
    fix: str = ""
    count: int = 1
    since: str | None = None


@dataclass(frozen=True, slots=True)
class KnownProblem:
    """A problem as a receiver knows it: seen first, missing since, alerted last; None: not missing, not alerted."""

    problem: Problem
    seen_at: float
    absent_at: float | None = None
    alerted_at: float | None = None


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """In seconds: how long a problem lasts before it is reported, the least time between two messages, and when a
    problem that lasts is reported again (None: never). `recovered`: whether the end of a problem is reported.
    """

    after: float = 120.0
    every: float = 300.0
    repeat: float | None = 86_400.0
    recovered: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """What one message reports."""

    new: Sequence[Problem] = ()
    lasting: Sequence[Problem] = ()
    over: Sequence[Problem] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to report."""
        return not (self.new or self.lasting or self.over)

    @property
    def title(self) -> str:
        """The message in a line, of our own words alone."""
        parts = (
            (len(self.new), "new problem"),
            (len(self.lasting), "lasting problem"),
            (len(self.over), "recovered"),
        )
        said = [_count_words(number, words) for number, words in parts if number]
        return f"vvwatch: {', '.join(said)}" if said else "vvwatch: this is a test alert"

    def to_document(self) -> dict[str, Any]:
        """Return it as it is stored and sent to programs."""
        return asdict(self)

    @classmethod
    def merge(cls, messages: Sequence[Message]) -> Message:
        """Return one message that reports what all of these do."""
        return cls(
            [each for part in messages for each in part.new],
            [each for part in messages for each in part.lasting],
            [each for part in messages for each in part.over],
        )

    @classmethod
    def of(cls, document: Mapping[str, Sequence[Mapping[str, Any]]]) -> Message:
        """Return the message of a stored document."""
        return cls(**{name: [Problem(**each) for each in found] for name, found in document.items()})


def _count_words(number: int, words: str) -> str:
    return f"{number} {words}{'s' if number != 1 and words != 'recovered' else ''}"


@dataclass(frozen=True, slots=True)
class Round:
    """What follows from one look: what is known from now on, and the message to send now."""

    known: Sequence[KnownProblem]
    message: Message = field(default_factory=Message)


def look(
    known: Iterable[KnownProblem],
    found: Iterable[Problem],
    now: float,
    last_message_at: float | None,
    policy: AlertPolicy,
) -> Round:
    """Compare what a receiver knows with what is found now.

    A problem that ends before it was reported is forgotten. One that is missing for a moment and found again is the
    same one. What may not be sent yet waits for the next message.
    """
    current = _merge(known, found, now)
    is_quiet = last_message_at is not None and now - last_message_at < policy.every
    if is_quiet:
        return Round(current)
    new = [each for each in current if _is_due(each, now, policy)]
    over = [each for each in current if _is_over(each, now, policy)]
    lasting = [each for each in current if _is_due_again(each, now, policy)]
    reported = {each.problem.key for each in (*new, *lasting)}
    ended = {each.problem.key for each in over}
    kept = [
        KnownProblem(each.problem, each.seen_at, each.absent_at, now)
        if each.problem.key in reported
        else each
        for each in current
        if each.problem.key not in ended
    ]
    message = Message(
        [each.problem for each in new],
        [each.problem for each in lasting],
        [each.problem for each in over] if policy.recovered else (),
    )
    return Round(kept, message)


def _merge(known: Iterable[KnownProblem], found: Iterable[Problem], now: float) -> list[KnownProblem]:
    by_key = {each.key: each for each in found}
    merged: list[KnownProblem] = []
    for each in known:
        again = by_key.pop(each.problem.key, None)
        if again is not None:
            merged.append(KnownProblem(again, each.seen_at, None, each.alerted_at))
        elif each.alerted_at is not None:
            absent_at = now if each.absent_at is None else each.absent_at
            merged.append(KnownProblem(each.problem, each.seen_at, absent_at, each.alerted_at))
    return [*merged, *(KnownProblem(each, now) for each in by_key.values())]


def _is_due(each: KnownProblem, now: float, policy: AlertPolicy) -> bool:
    return each.alerted_at is None and now - each.seen_at >= policy.after


def _is_due_again(each: KnownProblem, now: float, policy: AlertPolicy) -> bool:
    if each.alerted_at is None or each.absent_at is not None or policy.repeat is None:
        return False
    return now - each.alerted_at >= policy.repeat


def _is_over(each: KnownProblem, now: float, policy: AlertPolicy) -> bool:
    return each.absent_at is not None and now - each.absent_at >= policy.after
