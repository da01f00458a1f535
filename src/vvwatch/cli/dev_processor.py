"""The options of `vvwatch dev` that choose a processor and a prompt."""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from vvwatch.cli.failures import USAGE, Failure

OLLAMA: Final = "http://127.0.0.1:11434/v1"
_PROMPT: Final = "Describe what is to be seen and heard, in two or three sentences."
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"description": {"type": "string"}},
    "required": ["description"],
}
_PATIENCE_SECONDS: Final = 600
"""A model on a laptop without a graphics card takes minutes for an answer."""
_IN_FLIGHT: Final = 2


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """A processor, as its table of the configuration, and the prompt for each segment."""

    processor: Mapping[str, Any]
    prompt_text: str
    json_schema: Mapping[str, Any]

    @property
    def overrides(self) -> dict[str, Any]:
        """The additions to a configuration."""
        prompt = {"prompt_text": self.prompt_text, "json_schema": dict(self.json_schema)}
        return {"processors": {"dev": dict(self.processor)}, "prompts": {"dev": prompt}}

    @property
    def who(self) -> str:
        """The processor's name for people."""
        table = self.processor
        return (
            shlex.join(table["command"]) if "command" in table else f"{table['model']} at {table['base_url']}"
        )

    @property
    def preset(self) -> dict[str, Any]:
        """The preset of the automation."""
        return {
            "prompt_id": "dev",
            "processing_model": "dev",
            "enable_transcription": False,
            "enable_image_embedding": False,
        }


def prompt_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options, and their result as its argument `answering`."""

    @functools.wraps(command)
    def run(
        *args: Any,
        model: str | None,
        model_url: str | None,
        model_key: str | None,
        program: str | None,
        prompt: str | None,
        schema: str | None,
        **rest: Any,
    ) -> None:
        processor = _build_processor(model, model_url, model_key, program)
        _refuse_unanswered_prompt(processor, prompt, schema)
        asked = processor and PromptOptions(processor, prompt or _PROMPT, _read_schema(schema))
        command(*args, answering=asked, **rest)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


_OPTIONS: Final = (
    click.option("--model", metavar="NAME", help="A model that answers the prompt for each segment."),
    click.option(
        "--model-url",
        metavar="URL",
        help=f"Where it is served in OpenAI's protocol.  [Ollama's: {OLLAMA}]",
    ),
    click.option("--model-key-file", "model_key", metavar="FILE", help="A file with the key it asks for."),
    click.option("--program", metavar="COMMAND", help="A program that answers, instead of a model."),
    click.option("--prompt", metavar="TEXT", help="What is asked of each segment.  [to describe it]"),
    click.option(
        "--schema", metavar="FILE", help="A JSON Schema that answers have to fit.  [a text: description]"
    ),
)


def _build_processor(
    model: str | None, url: str | None, key: str | None, program: str | None
) -> dict[str, Any] | None:
    if model and program is not None:
        raise _usage_failure("there are two to answer: --model and --program", "leave one of them out")
    if not model and (url or key):
        raise _usage_failure("which model?", f"vvwatch dev FOLDER --model NAME --model-url {url or OLLAMA}")
    if program is not None:
        return {"type": "command", "command": _split_program(program), "timeout_seconds": _PATIENCE_SECONDS}
    if not model:
        return None
    return {
        "type": "openai",
        "base_url": url or OLLAMA,
        "model": model,
        "timeout_seconds": _PATIENCE_SECONDS,
        "max_in_flight": _IN_FLIGHT,
        **({"api_key_file": os.path.abspath(key)} if key else {}),  # noqa: PTH100  # as typed, not resolved
    }


def _refuse_unanswered_prompt(processor: object, prompt: str | None, schema: str | None) -> None:
    if processor is None and (prompt is not None or schema is not None):
        raise _usage_failure("nobody is there to answer the prompt", "add --model NAME, or --program COMMAND")


def _split_program(program: str) -> list[str]:
    """Return the program, found on PATH, and its arguments. Raises Failure."""
    try:
        words = shlex.split(program)
    except ValueError as error:
        raise _usage_failure(f"--program: {error}", "close the quotes") from None
    found = shutil.which(words[0]) if words else None
    if found is None:
        name = words[0] if words else program
        if Path(name).is_file():
            raise _usage_failure(f"{name!r} may not be run", f"chmod +x {shlex.quote(name)}")
        raise _usage_failure(f"there is no program {name!r}", "a name that is found on PATH, or a path")
    return [os.path.abspath(found), *words[1:]]  # noqa: PTH100  # a link is run under its own name


def _read_schema(file: str | None) -> Mapping[str, Any]:
    if file is None:
        return _SCHEMA
    try:
        schema = json.loads(Path(file).read_bytes())
    except OSError as error:
        raise Failure(f"cannot read the schema: {error.strerror}", where=file, exit_code=USAGE) from error
    except (ValueError, RecursionError) as error:
        raise Failure(f"the schema is no JSON: {error}", where=file, exit_code=USAGE) from error
    if not isinstance(schema, dict):
        raise Failure("the schema is no JSON object", where=file, exit_code=USAGE)
    return schema


def _usage_failure(message: str, hint: str) -> Failure:
    return Failure(message, hint, exit_code=USAGE)
