"""Reads an endpoint's reply in any dialect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vvwatch.processors.openai.answers import to_storable_text
from vvwatch.processors.openai.troubles import Kind, Trouble, classify_trouble, clean_message
from vvwatch.processors.validation import check_values

MOST_CHARACTERS: Final = 1 << 20
"""The longest answer that is kept."""
_LONGEST_NAME: Final = 200
_MOST_TOKENS: Final = 10**9
_MOST_VALUES: Final = 300_000


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's reply. `refusal` is its reason to refuse; tokens are None if the endpoint does not count them."""

    text: str
    finish: str = ""
    refusal: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def is_cut(self) -> bool:
        """Return whether the answer was cut at its allowed length."""
        return self.finish in {"length", "max_tokens", "MAX_TOKENS"}

    @property
    def is_counted(self) -> bool:
        """Return whether the endpoint reports the tokens used."""
        return self.input_tokens is not None and self.output_tokens is not None

    def to_record(self) -> str:
        """Return the reply as the journal stores it."""
        return json.dumps([self.text, self.finish, self.refusal, self.model], ensure_ascii=False)

    @classmethod
    def from_record(cls, record: str) -> Reply:
        """Return the reply that the journal stored."""
        text, finish, refusal, model = json.loads(record)
        return cls(text, finish, refusal, model)


def read_reply(body: bytes) -> Reply:
    """Return the reply in the body of a 200. Raises Trouble if it holds an error or no answer."""
    said = parse_body(body)
    if not isinstance(said, dict):
        raise Trouble(Kind.GARBLED, "the endpoint answered 200 with something that is no answer")
    if not said.get("error") and "choices" not in said:
        raise Trouble(Kind.GARBLED, "the endpoint answered 200 without an answer in it")
    choices = said.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    choice = choice if isinstance(choice, dict) else {}
    error = said.get("error") or choice.get("error")
    if error:
        raise _error_to_trouble(error)
    message = choice.get("message")
    return _build_reply(message if isinstance(message, dict) else {}, choice, said)


def parse_body(body: bytes) -> Any:
    """Return the JSON of a body, or the start of its text if it is none."""
    try:
        check_values(body, _MOST_VALUES)
        return json.loads(body)
    except (ValueError, RecursionError):
        return body[:4000].decode("utf-8", "replace")


def _build_reply(message: Mapping[str, Any], choice: Mapping[str, Any], said: Mapping[str, Any]) -> Reply:
    usage = said.get("usage")
    used = usage if isinstance(usage, dict) else {}
    finish = _clean_name(choice.get("finish_reason"))
    return Reply(
        to_storable_text(_reply_text(message, choice)[:MOST_CHARACTERS]),
        finish,
        _refusal_reason(message, finish),
        _model_name(said.get("model")),
        _token_count(used.get("prompt_tokens", used.get("input_tokens"))),
        _token_count(used.get("completion_tokens", used.get("output_tokens"))),
    )


def _error_to_trouble(error: Any) -> Trouble:
    code = error.get("code", error.get("status")) if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return classify_trouble(status, {"error": error}, {}, 0.0)


def _reply_text(message: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    """Return the content, else the arguments of a tool call."""
    content = message.get("content", choice.get("text"))
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if isinstance(content, dict):
        return json.dumps(content)
    if isinstance(content, str) and content.strip():
        return content
    return _tool_arguments(message)


def _tool_arguments(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls")
    call = calls[0] if isinstance(calls, list) and calls else {"function": message.get("function_call")}
    function = call.get("function") if isinstance(call, dict) else None
    given = function.get("arguments") if isinstance(function, dict) else None
    if isinstance(given, dict):
        return json.dumps(given)
    return given if isinstance(given, str) else ""


def _refusal_reason(message: Mapping[str, Any], finish: str) -> str | None:
    said = message.get("refusal")
    if isinstance(said, str) and said.strip():
        return f"the model refused: {clean_message(said)}"
    if finish in {"content_filter", "SAFETY", "safety", "refusal"}:
        return f"the endpoint withheld the answer ({finish})"
    return None


def _clean_name(value: Any) -> str:
    return to_storable_text(value)[:_LONGEST_NAME] if isinstance(value, str) else ""


def _model_name(value: Any) -> str | None:
    """Return the model's name; drop a path of weights, which is private to the server."""
    name = _clean_name(value)
    is_path = name.startswith(("/", "\\", "./", "~")) or name.endswith((".gguf", ".safetensors", ".bin"))
    return (name.replace("\\", "/").rpartition("/")[2] if is_path else name) or None


def _token_count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_TOKENS:
        return None
    return value
