"""Checks an endpoint and its model against the configuration: one list and one small question."""

from __future__ import annotations

import base64
import shlex
from typing import Any, Final

from vvwatch.config.processors import OpenAIProcessor
from vvwatch.errors import ProcessorError
from vvwatch.processors.openai import prompting
from vvwatch.processors.openai.dialect import Dialect
from vvwatch.processors.openai.endpoint import Endpoint
from vvwatch.processors.openai.troubles import Kind, Trouble

_MOST_NAMES: Final = 10
_MOST_TOKENS: Final = 16
_KEY: Final = "vvwatch-doctor"
_DOT: Final = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5"
    "PTgyPC4zNDL/wAALCAABAAEBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQR"
    "BRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqD"
    "hIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/APn+"
    "iiiv/9k="
)
"""One grey dot as a JPEG."""


async def examine(endpoint: Endpoint, table: OpenAIProcessor, dialect: Dialect) -> tuple[ProcessorError, ...]:
    """Return the problems found, each with a remedy; empty if there are none."""
    try:
        listed = await endpoint.models()
    except Trouble as trouble:
        if trouble.kind in {Kind.KEY, Kind.MONEY, Kind.AWAY, Kind.ADDRESS}:
            return (_trouble_error(trouble, table),)
        listed = ()
    found = [] if not listed or table.model in listed else [_unknown_model_error(table.model, listed)]
    refused = await _ask_small_question(endpoint, table, dialect)
    return (*found, _trouble_error(refused, table)) if refused else tuple(found)


async def _ask_small_question(endpoint: Endpoint, table: OpenAIProcessor, dialect: Dialect) -> Trouble | None:
    """Return the trouble of a small question with a picture; retry without a refused parameter."""
    while True:
        question = _build_question(table, dialect)
        try:
            await endpoint.chat(question, _KEY)
        except Trouble as trouble:
            if not dialect.learn(trouble, question):
                return trouble
        else:
            return None


def _build_question(table: OpenAIProcessor, dialect: Dialect) -> dict[str, Any]:
    parts = [prompting.text_part("Answer with one word: what colour is this picture?")]
    if table.frames_per_segment:
        parts.append(prompting.picture_part(_DOT))
    return {
        "model": table.model,
        "messages": [prompting.user_message(parts)],
        **dialect.parameters(_MOST_TOKENS),
    }


def _unknown_model_error(model: str, listed: tuple[str, ...]) -> ProcessorError:
    names = ", ".join(sorted(listed)[:_MOST_NAMES])
    return ProcessorError(f"the endpoint does not list the model {model!r}", f"it has: {names}")


def _trouble_error(trouble: Trouble, table: OpenAIProcessor) -> ProcessorError:
    hints = {
        Kind.KEY: "correct api_key_file or api_key_env",
        Kind.MONEY: "top up the account or raise its limit",
        Kind.PICTURES: "name a model that takes pictures, or start its server with the part that sees (mmproj)",
        Kind.AWAY: f"check that the endpoint is up, and that base_url is its address: {table.base_url}",
        Kind.ADDRESS: "set base_url to the address that the endpoint really has",
        Kind.MODEL: f"ollama pull {shlex.quote(table.model)}  # or correct model",
    }
    return ProcessorError(trouble.message, hints.get(trouble.kind, "see what the endpoint's own log says"))
