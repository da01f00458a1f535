"""Check processors: names, keys, prices, programs, and references to them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from vvwatch.config.checked import Checked
from vvwatch.config.ids import prompt_id
from vvwatch.config.processors import (
    CommandProcessor,
    OpenAIProcessor,
    PaidProcessor,
    ProcessorTable,
    VideoVectorProcessor,
)
from vvwatch.config.prompts import PromptPreset
from vvwatch.core.processors import TECHNICAL
from vvwatch.errors import ModelNotConfigured
from vvwatch.options.fields import is_file, is_loopback
from vvwatch.options.findings import Finding, Loc, find_closest, join_names

_OF_SEGMENTS: Final = ("frames", "frame_width", "audio")


def check_processors(checked: Checked) -> Iterator[Finding]:
    """Yield findings about processors, and about options that name one."""
    for name, table in checked.settings.processors.items():
        loc: Loc = ("processors", name)
        yield from _check_built_in(checked, loc, table)
        if isinstance(table, PaidProcessor):
            yield from _check_prices(checked, loc, table)
        if isinstance(table, CommandProcessor):
            yield from _check_command(checked, loc, table)
        if isinstance(table, OpenAIProcessor | VideoVectorProcessor):
            yield from _check_endpoint(checked, loc, table)
        if isinstance(table, VideoVectorProcessor):
            yield from _check_upstream(checked, loc, table)
    yield from _check_choice(checked, ("processing", "default"), checked.settings.processing.default)
    for name, automation in checked.settings.automations.items():
        loc = ("automations", name, "prompt", "processing_model")
        yield from _check_choice(checked, loc, automation.prompt.processing_model)
        yield from _check_unsupported(checked, loc[:-1], automation.prompt)


def _check_built_in(checked: Checked, loc: Loc, table: ProcessorTable) -> Iterator[Finding]:
    """Check that the built-in processor keeps its name and stays unique."""
    is_sound = checked.sound((*loc, "type"))
    if is_sound and (loc[-1] == TECHNICAL) != (table.type == TECHNICAL):
        what = f"[processors.{TECHNICAL}] is the built-in processor, the only one of its type"
        yield Finding((*loc, "type"), what, hint="choose another name, or another type")


def _check_choice(checked: Checked, loc: Loc, model: str | None) -> Iterator[Finding]:
    """Require the name of a processor, or one of its models, however wrong its other options are."""
    names = checked.settings.processor_names
    declared = checked.names("processors")
    if model is None or model in declared or not (checked.sound(loc) and _are_known(checked, declared)):
        return
    try:
        names.choose(model)
    except ModelNotConfigured:
        close = find_closest(model, names.infos)
        hint = f"did you mean {close!r}?" if close else f"declare [processors.{_as_name(model)}]"
        yield Finding(loc, f"no processor answers to the model {model!r}", names.choices(), hint)


def _check_unsupported(checked: Checked, loc: Loc, preset: PromptPreset) -> Iterator[Finding]:
    """Warn of explicitly requested features that the processor lacks."""
    names = checked.settings.processor_names
    info = names.find(preset.processing_model, prompt_id(preset.prompt_id)) if checked.sound(loc) else None
    for feature, reason in {} if info is None else info.not_done(preset.model_dump()).items():
        if (key := f"enable_{feature}") in preset.model_fields_set:
            yield Finding((*loc, key), reason, hint="leave it out; runs tell it as false", warning=True)


def _are_known(checked: Checked, declared: list[str]) -> bool:
    """Return whether the models of all processors come from the file."""
    return all(checked.sound(("processors", name, "models")) for name in declared)


def _as_name(model: str) -> str:
    return "NAME" if set(model) - set("abcdefghijklmnopqrstuvwxyz0123456789_-") else model


def _check_prices(checked: Checked, loc: Loc, table: PaidProcessor) -> Iterator[Finding]:
    for model, prices in table.prices.items():
        place = (*loc, "prices", model)
        if checked.sound(place) and not prices.model_fields_set:
            allowed = join_names(type(prices).model_fields)
            yield Finding(place, "says no price", allowed, "usd_per_call = 0 is a model that costs nothing")
    sound = checked.sound((*loc, "prices")) and checked.sound((*loc, "budget"))
    limited = table.budget.holds_dollars or checked.settings.processing.budget.holds_dollars
    if not (sound and limited and isinstance(table, OpenAIProcessor) and checked.sound((*loc, "model"))):
        return
    if table.model and table.price_of(table.model) is None:
        what = f"nobody knows what the model {table.model!r} costs, so no budget in dollars can be held"
        hint = f'say it in [processors.{loc[-1]}.prices."{table.model}"]'
        yield Finding((*loc, "model"), what, hint=hint, warning=True)


def _check_command(checked: Checked, loc: Loc, table: CommandProcessor) -> Iterator[Finding]:
    if table.level == "item" and checked.sound((*loc, "level")):
        for key in _OF_SEGMENTS:
            if key in table.model_fields_set:
                hint = 'leave it out: with level = "item" the program is given the whole file'
                yield Finding((*loc, key), 'is of use with level = "segment" only', hint=hint)
    program = table.command[0] if table.command else ""
    if program and checked.sound((*loc, "command")) and shutil.which(program) is None:
        found = "cannot be run" if is_file(Path(program)) else "is not there"
        hint = "install it, or make it executable; until then the processor is paused"
        yield Finding((*loc, "command"), f"the program {program!r} {found}", hint=hint, warning=True)


def _check_endpoint(
    checked: Checked, loc: Loc, table: OpenAIProcessor | VideoVectorProcessor
) -> Iterator[Finding]:
    keys = table.list_given(("api_key_file", "api_key_env"))
    sound = checked.sound((*loc, "api_key_file")) and checked.sound((*loc, "api_key_env"))
    if sound and len(keys) == 2:
        yield Finding(loc, "has both api_key_file and api_key_env", "one of api_key_file, api_key_env")
    elif sound and not keys and isinstance(table, VideoVectorProcessor):
        yield Finding(loc, "needs an API key of the upstream", "one of api_key_file, api_key_env")
    url = urlsplit(table.base_url)
    if url.scheme == "http" and not is_loopback(url.hostname or "") and checked.sound((*loc, "base_url")):
        hint = "use https, or a network that you trust: media and keys travel in clear"
        yield Finding((*loc, "base_url"), "is not encrypted", "https://…", hint, warning=True)


def _check_upstream(checked: Checked, loc: Loc, table: VideoVectorProcessor) -> Iterator[Finding]:
    """Check that the left side of `connectors` names a declared connector, or an id from the API."""
    if table.prices and checked.sound((*loc, "prices")):
        hint = "say usd_per_mt: what one unit of the upstream costs; it knows its models' prices"
        yield Finding((*loc, "prices"), "is of no use to a processor of this type", hint=hint)
    limited = table.budget.holds_dollars or checked.settings.processing.budget.holds_dollars
    if limited and table.usd_per_mt is None and checked.sound((*loc, "budget")):
        what = "nobody knows what a unit of the upstream costs, so no budget in dollars can be held"
        yield Finding(loc, what, hint="say it: usd_per_mt", warning=True)
    names = checked.names("connectors")
    for name in table.connectors or ():
        if checked.sound((*loc, "connectors")) and name not in names and not name.startswith("conn_"):
            hint = f"declare [connectors.{name}], or give an id (conn_…)"
            yield Finding(
                (*loc, "connectors", name), f"there is no [connectors.{name}]", join_names(names), hint
            )
