"""Alerts are grouped, not too often, repeated, and told to be over; nothing is lost by waiting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.alert_texts import FORMATS, escape_for_slack, format_mail
from vvwatch.core.alerts import AlertPolicy, KnownProblem, Message, Problem, look

POLICY = AlertPolicy(after=60, every=300, repeat=3600)
A, B = Problem("a", "automation", "a: cannot be listed"), Problem("b", "node", "b: is lost")


class Person:
    """Hears what `look` reports, as the daemon does it: at each step with what is there."""

    def __init__(self, policy: AlertPolicy = POLICY) -> None:
        self.policy = policy
        self.known: Sequence[KnownProblem] = ()
        self.last_at: float | None = None
        self.heard: list[tuple[float, Message]] = []

    def see(self, now: float, *problems: Problem) -> None:
        found = look(self.known, problems, now, self.last_at, self.policy)
        self.known = found.known
        if not found.message.is_empty:
            self.last_at = now
            self.heard.append((now, found.message))

    def titles(self) -> list[str]:
        return [message.title for _, message in self.heard]


def test_a_problem_is_reported_when_it_has_lasted_and_when_it_is_over() -> None:
    person = Person()
    for now in range(0, 121, 15):
        person.see(now, A)
    for now in range(135, 1000, 15):
        person.see(now)
    assert [(now, message.new, message.over) for now, message in person.heard] == [
        (60, [A], []),
        (360, [], [A]),
    ]


def test_what_ends_soon_is_never_reported() -> None:
    person = Person()
    for now in range(0, 600, 30):
        person.see(now, *([A] if now % 120 < 60 else []))
    assert person.heard == []


def test_a_problem_that_is_missing_for_a_moment_is_still_there() -> None:
    person = Person()
    for now in range(0, 1000, 15):
        person.see(now, *([] if now == 600 else [A]))
    assert person.titles() == ["vvwatch: 1 new problem"]


def test_problems_that_come_together_are_one_message_and_later_ones_wait() -> None:
    person = Person()
    for now in range(0, 500, 15):
        person.see(now, A, *([B] if now >= 90 else []))
    assert [(now, [each.key for each in message.new]) for now, message in person.heard] == [
        (60, ["a"]),
        (360, ["b"]),
    ]


def test_a_problem_that_lasts_is_repeated() -> None:
    person = Person()
    for now in range(0, 8000, 15):
        person.see(now, A)
    assert person.titles() == ["vvwatch: 1 new problem", *["vvwatch: 1 lasting problem"] * 2]
    never = Person(AlertPolicy(after=60, every=300, repeat=None))
    for now in range(0, 8000, 15):
        never.see(now, A)
    assert len(never.heard) == 1


def test_the_end_is_not_reported_where_it_is_not_wanted() -> None:
    person = Person(AlertPolicy(after=0, every=1, recovered=False))
    person.see(0, A)
    person.see(10)
    person.see(20)
    assert person.titles() == ["vvwatch: 1 new problem"]
    assert person.known == []


@given(st.lists(st.sets(st.sampled_from("abcd")), min_size=1, max_size=60))
def test_a_person_who_hears_all_messages_knows_what_is_there(steps: list[set[str]]) -> None:
    """After a calm end, the problems that were reported and not reported as over are those that are there."""
    person, now = Person(), 0.0
    for step in [*steps, *[steps[-1]] * 30]:
        person.see(now, *(Problem(key, "node", key) for key in sorted(step)))
        now += 30
    open_now = set[str]()
    for _, message in person.heard:
        assert not {each.key for each in message.new} & open_now
        open_now |= {each.key for each in message.new}
        assert {each.key for each in message.over} <= open_now
        open_now -= {each.key for each in message.over}
    assert open_now == steps[-1]
    moments = [at for at, _ in person.heard]
    assert all(later - sooner >= POLICY.every for sooner, later in pairwise(moments))


HOSTILE = (
    "<!channel> @here <@U123> [x](http://evil) *bold* `code` &amp; \u202e\x1b[31m\r\nBcc: a@b " + "x" * 9000
)
MESSAGE = Message([Problem("k", "import_job", HOSTILE, f"fix {HOSTILE}", 3, "2026-12-01T10:00:00Z")], [], [A])


def test_slack_mentions_nobody() -> None:
    text = json.dumps(FORMATS["slack"](MESSAGE, "alr_1", HOSTILE), ensure_ascii=False)
    for mark in ("<!", "<@", "@here", "@channel", "\u202e", "\\u001b"):
        assert mark not in text
    assert escape_for_slack("a<b>&c") == "a&lt;b&gt;&amp;c"
    assert len(text) < 5000


def test_a_card_of_teams_has_no_markdown() -> None:
    body = FORMATS["teams"](MESSAGE, "alr_1", "node-1")["attachments"][0]["content"]["body"]
    assert {block["type"] for block in body} == {"RichTextBlock"}
    assert {run["type"] for block in body for run in block["inlines"]} == {"TextRun"}
    assert "entities" not in json.dumps(body)


def test_a_mail_has_one_subject_line() -> None:
    subject, text = format_mail(MESSAGE, HOSTILE)
    assert "\n" not in subject
    assert "\r" not in subject
    assert "Recovered:" in text
    assert "\nBcc:" not in text


def test_a_message_survives_storing() -> None:
    assert Message.of(json.loads(json.dumps(MESSAGE.to_document()))).title == MESSAGE.title


@pytest.mark.parametrize("kind", FORMATS)
def test_many_problems_are_counted(kind: str) -> None:
    many = Message([Problem(str(number), "node", f"n{number}") for number in range(100)])
    text = json.dumps(FORMATS[kind](many, "alr_1", ""))
    assert ("and 80 more" in text) is (kind != "webhook")
    assert "100 new problems" in text
