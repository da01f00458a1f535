"""Messages for Slack, Teams, programs and mail.

Names of objects and answers of servers are strangers' text: they mention nobody and format nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from vvwatch.core.alerts import MOST_LISTED, Message, Problem

_LONGEST: Final = 500
_CONTROLS: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+"
)
_APART: Final = "\u200b"
"""An invisible character that keeps `@` and a name apart."""
_PARTS: Final = (("new", "New"), ("lasting", "Still there"), ("over", "Recovered"))


def _clean(text: str) -> str:
    """Return text on one line, without characters that hide or turn others, of a bounded length."""
    plain = _CONTROLS.sub(" ", text)
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"


def escape_for_slack(text: str) -> str:
    """Return text that mentions nobody, links nowhere and is not formatted in Slack."""
    escaped = _clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([@#*_~`])", rf"\1{_APART}", escaped)


def list_lines(message: Message) -> Iterator[tuple[str, str]]:
    """Yield each heading with an empty text, then each of its problems: what it is, and what to do."""
    for name, heading in _PARTS:
        found: Sequence[Problem] = getattr(message, name)
        if found:
            yield heading, ""
        for each in found[:MOST_LISTED]:
            yield _describe(each), "" if name == "over" else each.fix
        if len(found) > MOST_LISTED:
            yield f"and {len(found) - MOST_LISTED} more: vvwatch status", ""


def _describe(problem: Problem) -> str:
    times = f" ({problem.count:,} in all)" if problem.count > 1 else ""
    since = f", since {problem.since}" if problem.since else ""
    return f"{problem.kind.replace('_', ' ')}: {problem.what}{times}{since}"


def format_slack(message: Message, alert_id: str, node: str) -> dict[str, Any]:
    """Return the body of an incoming webhook of Slack."""
    blocks = [_slack_block(f"*{escape_for_slack(message.title)}*{_on(node, escape_for_slack)}")]
    for what, fix in list_lines(message):
        text = f"*{what}*" if what in dict(_PARTS).values() else f"• {escape_for_slack(what)}"
        blocks.append(_slack_block(f"{text}\n{escape_for_slack(fix)}" if fix else text))
    title = escape_for_slack(message.title)
    return {"text": title, "blocks": blocks[:50], "metadata": _name_event(alert_id)}


def _slack_block(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _name_event(alert_id: str) -> dict[str, Any]:
    return {"event_type": "vvwatch_alert", "event_payload": {"alert_id": alert_id}}


def format_teams(message: Message, _alert_id: str, node: str) -> dict[str, Any]:
    """Return the body of an incoming webhook of Teams: a card whose texts are not read as Markdown."""
    body = [_teams_text(f"{message.title}{_on(node, _clean)}", is_bold=True)]
    for what, fix in list_lines(message):
        body.append(_teams_text(_clean(what), is_bold=what in dict(_PARTS).values()))
        if fix:
            body.append(_teams_text(_clean(fix)))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}


def _teams_text(text: str, *, is_bold: bool = False) -> dict[str, Any]:
    weight = {"weight": "Bolder"} if is_bold else {}
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **weight}]}


def format_document(message: Message, alert_id: str, node: str) -> dict[str, Any]:
    """Return the body for a program."""
    return {
        "event": "alert",
        "alert_id": alert_id,
        "node": node,
        "title": message.title,
        **message.to_document(),
    }


def format_mail(message: Message, node: str) -> tuple[str, str]:
    """Return the subject and the text of a mail."""
    lines = [
        f"{_clean(what)}\n    {_clean(fix)}" if fix else _clean(what) for what, fix in list_lines(message)
    ]
    spaced = [f"\n{line}:" if line in dict(_PARTS).values() else f"- {line}" for line in lines]
    end = "\n\nThe whole list: vvwatch status\n"
    return f"{message.title}{_on(node, _clean)}", "\n".join(spaced).strip() + end


def _on(node: str, escape: Callable[[str], str]) -> str:
    return f" on {escape(node)}" if node else ""


FORMATS: Final[Mapping[str, Callable[[Message, str, str], dict[str, Any]]]] = {
    "slack": format_slack,
    "teams": format_teams,
    "webhook": format_document,
}
"""The body for each type of receiver that is a URL."""
