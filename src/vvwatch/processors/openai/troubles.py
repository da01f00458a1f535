"""The failures of an endpoint, classified by remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

from vvwatch.core.money import Usage

_LONGEST: Final = 300
_LONGEST_WAIT_SECONDS: Final = 86_400.0
_KEYS: Final = re.compile(r"\b(sk|pk|key|AIza|gsk|hf|xai)[-_][\w.*-]{6,}|\bBearer\s+\S+", re.ASCII)
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff]+")


class Kind(StrEnum):
    """The remedy for a trouble."""

    BUSY = "busy"
    """Ask less often, and later."""
    AWAY = "away"
    """Ask again later."""
    KEY = "key"
    """Change the key: no call can succeed before."""
    MONEY = "money"
    """Top up the account: no call can succeed before."""
    ADDRESS = "address"
    """Change base_url: no call can succeed before."""
    MODEL = "model"
    """Change or fetch the model: no call can succeed before."""
    GARBLED = "garbled"
    """Ask once more only: an answer came, perhaps paid for, but is unusable."""
    FORMAT = "format"
    """Ask for JSON in another form."""
    PARAMETER = "parameter"
    """Drop or rename a parameter."""
    CONTEXT = "context"
    """Shorten the request."""
    PICTURES = "pictures"
    """Change the model: this one takes no pictures."""
    SOUND = "sound"
    """Change the model: this one takes no sound."""
    REFUSED = "refused"
    """None: the same request is refused again."""


class Trouble(Exception):
    """Raised when there is no answer; `message` names no secret and fits in a line.

    `is_paid`: the endpoint may have worked and may charge for it. `usage` is what it may have used.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        retry_after_seconds: float | None = None,
        *,
        is_paid: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.is_paid = is_paid or kind is Kind.GARBLED
        self.usage = Usage(cost_usd=0.0)


@dataclass(frozen=True, slots=True)
class _Rule:
    kind: Kind
    words: re.Pattern[str]
    statuses: tuple[int, ...] = ()


def _make_rule(kind: Kind, words: str, *statuses: int) -> _Rule:
    return _Rule(kind, re.compile(words, re.IGNORECASE | re.ASCII), statuses)


_RULES: Final = (
    _make_rule(
        Kind.MONEY,
        r"insufficient_quota|billing|credit balance|insufficient (credits|funds|balance)",
        400, 402, 403, 429,
    ),
    _make_rule(
        Kind.PICTURES,
        r"image input is not supported|(not|n't) support(ed)? (image|vision|multimodal)|no endpoints? .*image|"
        r"(image|vision|multimodal)[\w ]{0,30} (is|are) not (supported|enabled)|image_url.{0,60}(only|not) support|"
        r"not a multimodal model|missing data required for image input|mmproj",
    ),
    _make_rule(
        Kind.SOUND,
        r"(audio)[\w ]{0,30} (is|are) not (supported|enabled)|(not|n't) support(ed)? (input_)?audio|"
        r"input_audio.{0,60}(only|not) support",
    ),
    _make_rule(Kind.MODEL, r"model_not_found|(no such|unknown|invalid|not a valid) model", 400, 404),
    _make_rule(Kind.MODEL, r"\bmodels?\b.{0,120}(not found|not exist)", 404),
    _make_rule(
        Kind.CONTEXT,
        r"context_length_exceeded|exceed_context_size|(maximum|max|available) context|context (window|length|size)|"
        r"prompt is too long|too many (input )?tokens|input token count",
        400, 413, 422, 500,
    ),
    _make_rule(
        Kind.PARAMETER,
        r"max_completion_tokens|unsupported (parameter|value)[^.]{0,40}(max_tokens|temperature)|"
        r"['\"`]?(temperature|max_tokens)['\"`]? (is|does) not support",
        400, 422,
    ),
    _make_rule(Kind.FORMAT, r"response_format|json_schema|json_object|grammar", 400, 404, 415, 422, 500, 501),
    _make_rule(Kind.FORMAT, r"json mode|structured[ _]output|schema", 400, 404, 415, 422),
)  # fmt: skip
"""The first rule that matches the words, and the status if it names any, wins."""
_BY_STATUS: Final[Mapping[int, Kind]] = {
    401: Kind.KEY,
    402: Kind.MONEY,
    403: Kind.KEY,
    408: Kind.AWAY,
    409: Kind.AWAY,
    425: Kind.AWAY,
    429: Kind.BUSY,
}


def classify_trouble(status: int, body: Any, headers: Mapping[str, str], now: float) -> Trouble:
    """Return the trouble of an error response: `body` is its JSON or text; `now` is epoch seconds."""
    said = _error_text(body)
    words = clean_message(said)
    kind = _classify_kind(status, said[:4000])
    message = f"the endpoint answered {status}" + (f": {words}" if words else "")
    return Trouble(kind, message, read_retry_after(headers, now) if kind in {Kind.BUSY, Kind.AWAY} else None)


def _classify_kind(status: int, said: str) -> Kind:
    for rule in _RULES:
        if (not rule.statuses or status in rule.statuses) and rule.words.search(said):
            return rule.kind
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return Kind.AWAY if status >= 500 else Kind.REFUSED


def read_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return for how many seconds the endpoint asks to be left alone, bounded; None if it does not say.

    `headers` has lower-case names.
    """
    for name, per_second in (("retry-after-ms", 1000), ("x-ms-retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = _parse_retry_after(headers[name], now) / per_second
        except (KeyError, ValueError, OverflowError, TypeError):
            continue
        if not math.isnan(seconds):
            return min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS)
    return None


def _parse_retry_after(text: str, now: float) -> float:
    try:
        return float(text)
    except ValueError:
        return parsedate_to_datetime(text).timestamp() - now


def clean_message(text: str) -> str:
    """Return the text on one line, shortened, without anything that looks like a key."""
    line = _KEYS.sub("•••", _UNPRINTABLE.sub(" ", text[: 4 * _LONGEST])).strip()
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _error_text(body: Any) -> str:
    if isinstance(body, str):
        return "" if "<html" in body[:1000].lower() or "<!doctype" in body[:1000].lower() else body
    said = body.get("error", body.get("detail", body.get("message", ""))) if isinstance(body, dict) else body
    if isinstance(said, dict):
        parts = [said.get(name) for name in ("message", "code", "type", "param")]
        return " ".join(str(part) for part in parts if isinstance(part, str | int) and part is not None)
    return str(said)[:4000] if said else ""
