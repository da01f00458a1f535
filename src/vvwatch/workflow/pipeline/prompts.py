"""Check that the processors can answer the prompts of automations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vvwatch.config import Automation, Config, ids
from vvwatch.errors import ConfigInvalid, InvalidInput, ModelNotConfigured, Problem
from vvwatch.options.findings import key_lines, nearest_line
from vvwatch.ports.processing import Processor, Prompt


def check_prompts(config: Config, processors: Mapping[str, Processor]) -> None:
    """Raise ConfigInvalid naming each automation whose prompt its processor cannot answer.

    Prompts made over the API are checked there. Processors that could not be opened are not checked.
    """
    found = tuple(
        problem
        for name, automation in config.automations.items()
        for problem in _find_problems(config, processors, name, automation)
    )
    if found:
        raise ConfigInvalid(found)


def _find_problems(
    config: Config, processors: Mapping[str, Processor], name: str, automation: Automation
) -> Iterator[Problem]:
    try:
        wanted, prompt = choose_prompt(config, automation)
    except ModelNotConfigured as error:
        # The file has it but this daemon does not: the file was reloaded.
        place = ("automations", name, "prompt", "processing_model")
        hint = "restart vvwatch: new processors count from the next start on"
        yield _to_problem(config, place, error.message, config.processor_names.choices(), hint)
        return
    if prompt is None or wanted not in processors:
        return
    try:
        processors[wanted].check_prompt(prompt)
    except InvalidInput as error:
        yield _to_problem(
            config, ("automations", name, "prompt", "prompt_id"), error.message, hint=error.hint
        )


def choose_prompt(config: Config, automation: Automation) -> tuple[str, Prompt | None]:
    """Return the processor and the prompt of an automation; no prompt if it was made over the API.

    Raises ModelNotConfigured.
    """
    identifier = ids.prompt_id(automation.prompt.prompt_id)
    wanted = config.processor_names.choose(automation.prompt.processing_model, identifier).name
    table = next((each for key, each in config.prompts.items() if ids.prompt_id(key) == identifier), None)
    if table is None:
        return wanted, None
    level = None if table.video_level is None else table.video_level.model_dump()
    return wanted, Prompt(table.prompt_text, table.json_schema, level)


def _to_problem(
    config: Config, place: tuple[str, ...], what: str, allowed: str = "", hint: str = ""
) -> Problem:
    if config.path is None:
        return Problem("flags", None, ".".join(place), what, allowed, hint)
    line = nearest_line(key_lines(config.path.read_text(encoding="utf-8")), place)
    return Problem(str(config.path), line, ".".join(place), what, allowed, hint)
