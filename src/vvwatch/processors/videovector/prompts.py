"""Our prompts at the upstream: created once for each text and schema, and found again by their content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import anyio

from vvwatch.errors import InvalidInput, ProcessorRefused
from vvwatch.ports.processing import Prompt
from vvwatch.processors.validation import check_schema
from vvwatch.processors.videovector.upstream import Upstream

_TEXT: Final = (10, 5000)
_INSTRUCTIONS: Final = (1, 12_000)
_SPECIAL: Final = ".[]"
_DIGITS: Final = 24


def check_prompt(prompt: Prompt) -> None:
    """Raise InvalidInput, with the reason, for a prompt that the upstream does not take."""
    _check_length("the prompt_text", prompt.prompt_text, _TEXT)
    _check_schema("json_schema", prompt.json_schema)
    if prompt.video_level is not None:
        instructions = str(prompt.video_level.get("instructions_text") or "")
        _check_length("instructions_text of video_level", instructions, _INSTRUCTIONS)
        _check_schema("json_schema of video_level", prompt.video_level.get("json_schema") or {})


def _check_length(what: str, text: str, bounds: tuple[int, int]) -> None:
    least, most = bounds
    if not least <= len(text) <= most:
        raise InvalidInput(f"{what} has {len(text)} characters", f"a VideoVector takes {least} to {most}")


def _check_schema(what: str, schema: Mapping[str, Any]) -> None:
    if schema.get("type") != "object":
        raise InvalidInput(f"{what} does not describe an object", 'write "type": "object" at its root')
    bad = next((name for name in _property_names(schema) if not name or set(name) & set(_SPECIAL)), None)
    if bad is not None:
        raise InvalidInput(
            f"{what} has a field named {bad!r}",
            "a VideoVector takes no `.`, `[` or `]` in the names of fields",
        )
    check_schema(schema)


def _property_names(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for each in schema:
            yield from _property_names(each)
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for each in schema.values():
            yield from _property_names(each)


class Prompts:
    """The ids of our prompts at the upstream. `fixed` replaces all of them."""

    def __init__(self, upstream: Upstream, fixed: str | None) -> None:
        self._upstream = upstream
        self._fixed = fixed
        self._known: dict[str, str] = {}
        self._gone: dict[str, str] = {}
        self._looking = anyio.Lock()

    async def id_of(self, prompt: Prompt, run_id: str) -> str:
        """Return the id of the prompt; create it unless the upstream has one with the same content.

        `run_id` is ours: items of one run that arrive here on different replicas create one prompt together.
        """
        if self._fixed is not None:
            return self._fixed
        said = _prompt_fields(prompt)
        digest = sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:_DIGITS]
        async with self._looking:
            if digest not in self._known:
                self._known[digest] = await self._found(digest, said) or await self._make_prompt(
                    digest, said, run_id
                )
            return self._known[digest]

    def forget(self, prompt_id: str) -> None:
        """Read the list again: the prompt is gone. Raises ProcessorRefused when the configuration names it."""
        if self._fixed is not None:
            raise ProcessorRefused(
                f"{self._upstream.name} has no prompt {prompt_id!r}",
                "set prompt_id of this processor to a prompt of the upstream, or leave it out",
            )
        for digest in [digest for digest, known in self._known.items() if known == prompt_id]:
            del self._known[digest]
            self._gone[digest] = prompt_id

    async def _found(self, digest: str, said: Mapping[str, Any]) -> str | None:
        name = _prompt_name(digest)
        for each in await self._upstream.prompts():
            if each.name == name and each.is_active and each.json_schema == said["json_schema"]:
                return self._upstream.checked_id(each.prompt_id, "for its prompts")
        return None

    async def _make_prompt(self, digest: str, said: Mapping[str, Any], run_id: str) -> str:
        about = "Made by vvwatch, which finds it by its name and asks what it says."
        fields = {"name": _prompt_name(digest), "description": about, **said}
        key = f"vvwatch:{run_id}:prompt:{digest}:{self._gone.get(digest, 'first')}"  # an old key creates nothing new
        return await self._upstream.create_prompt(fields, key)


def _prompt_name(digest: str) -> str:
    return f"vvwatch {digest}"


def _prompt_fields(prompt: Prompt) -> dict[str, Any]:
    said = {"prompt_text": prompt.prompt_text, "json_schema": dict(prompt.json_schema)}
    return said if prompt.video_level is None else {**said, "video_level": dict(prompt.video_level)}
