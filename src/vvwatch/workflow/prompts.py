"""Whether the processors there are can answer the prompts that automations ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vvwatch.config import Automation, Config
from vvwatch.config.lines import key_lines, nearest_line
from vvwatch.core.media import DEFAULT_PROCESSOR
from vvwatch.errors import ConfigInvalid, InvalidInput, Problem
from vvwatch.ports import Processor, Prompt


def check_prompts(config: Config, processors: Mapping[str, Processor]) -> None:
    """Raises ConfigInvalid, naming each automation whose prompt no processor can answer.

    A prompt that was made over the API is checked there.
    """
    found = tuple(
        problem
        for name, automation in config.automations.items()
        for problem in _problems(config, processors, name, automation)
    )
    if found:
        raise ConfigInvalid(found)


def _problems(
    config: Config, processors: Mapping[str, Processor], name: str, automation: Automation
) -> Iterator[Problem]:
    wanted = automation.prompt.processing_model or DEFAULT_PROCESSOR
    if wanted not in processors:
        what, allowed = f"no processor is called {wanted!r}", ", ".join(sorted(processors))
        yield _problem(config, ("automations", name, "prompt", "processing_model"), what, allowed)
        return
    table = config.prompts.get(automation.prompt.prompt_id)
    if table is None:
        return
    level = None if table.video_level is None else table.video_level.model_dump()
    try:
        processors[wanted].check_prompt(Prompt(table.prompt_text, table.json_schema, level))
    except InvalidInput as error:
        yield _problem(config, ("automations", name, "prompt", "prompt_id"), error.message, hint=error.hint)


def _problem(config: Config, place: tuple[str, ...], what: str, allowed: str = "", hint: str = "") -> Problem:
    if config.path is None:
        return Problem("flags", None, ".".join(place), what, allowed, hint)
    line = nearest_line(key_lines(config.path.read_text(encoding="utf-8")), place)
    return Problem(str(config.path), line, ".".join(place), what, allowed, hint)
