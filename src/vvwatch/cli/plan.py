"""`vvwatch plan`: forecast cost and delay before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import click

from vvwatch.cli.commands import Command, WholeNumber, config_option, json_option
from vvwatch.cli.failures import FAILURE
from vvwatch.cli.output import escape_controls, format_duration, print_json
from vvwatch.cli.tables import print_columns
from vvwatch.config import load
from vvwatch.core.costs import Forecast
from vvwatch.daemon.forecasting import USUAL_SECONDS, Work
from vvwatch.daemon.planning import Planned
from vvwatch.daemon.planning import plan_automations as planned

_HEADS: Final = (
    "AUTOMATION",
    "OBJECTS",
    "LEARNT BY",
    "LISTED EVERY",
    "CALLS/HOUR",
    "CALLS/DAY",
    "USD/MONTH",
    "FOUND AFTER",
    "AT WORST",
)
_SPARE: Final = ("CALLS/DAY", "LEARNT BY", "CALLS/HOUR", "OBJECTS")


@click.command(
    cls=Command,
    examples=(
        (
            "vvwatch plan --config vvwatch.toml",
            "list each location once, and forecast its cost",
        ),
        (
            "vvwatch plan --config vvwatch.toml --objects 5000000",
            "the same for locations that are still empty",
        ),
    ),
)
@config_option
@click.option(
    "--objects", type=WholeNumber(0), metavar="N", help="So many in each location, instead of counting."
)
@click.option(
    "--media-seconds",
    type=click.FloatRange(0.1, 1e6),
    default=USUAL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Suppose each object to be a video so long.",
)
@json_option
@click.pass_context
def plan(
    ctx: click.Context, config: str | None, objects: int | None, media_seconds: float, *, as_json: bool
) -> None:
    """Forecast list calls, how late new objects are found, and the cost of processing. Starts and writes nothing.

    Exit code 1 if a location cannot be counted.
    """
    loaded = load(Path(config) if config else None, os.environ)
    found = anyio.run(planned, loaded, objects, media_seconds)
    if as_json:
        print_json({"automations": [_to_document(each) for each in found], "total": _sum_forecasts(found)})
    else:
        _print_plan(found, "" if loaded.path else ": there is no file, name one with --config")
    ctx.exit(FAILURE if any(each.error for each in found) else 0)


def _to_document(each: Planned) -> dict[str, Any]:
    size, forecast, error = each.size, each.forecast, each.error
    return {
        "automation": each.name,
        "connector": each.automation.connector,
        "prefix": each.automation.prefix,
        "learnt_by": each.learnt_by.value,
        "max_list_calls_per_hour": each.automation.max_list_calls_per_hour,
        "objects": size.objects if size else None,
        "objects_complete": size.complete if size else None,
        "calls_per_listing": size.calls if size else None,
        **(_forecast_to_dict(forecast) if forecast else {}),
        "processing": _work_to_dict(each.work) if each.work else None,
        "error": None if error is None else {"message": error.message, "hint": error.hint},
    }


def _forecast_to_dict(found: Forecast) -> dict[str, Any]:
    return {
        "listed_every_seconds": found.every_seconds,
        "stretched": found.stretched,
        "calls_per_hour": found.calls_per_hour,
        "calls_per_day": found.calls_per_day,
        "usd_per_month": found.usd_per_month,
        "typical_delay_seconds": found.typical_seconds,
        "worst_delay_seconds": found.worst_seconds,
    }


def _work_to_dict(work: Work) -> dict[str, Any]:
    return {
        "processor": work.processor,
        "items": work.items,
        "media_seconds": work.media_seconds,
        "calls": work.forecast.calls,
        "input_tokens": work.forecast.input_tokens,
        "output_tokens": work.forecast.output_tokens,
        "usd": work.forecast.cost_usd,
        "shortages": list(work.shortages),
    }


def _sum_forecasts(found: Sequence[Planned]) -> dict[str, float]:
    forecasts = [each.forecast for each in found if each.forecast]
    return {
        "calls_per_hour": sum(each.calls_per_hour for each in forecasts),
        "calls_per_day": sum(each.calls_per_day for each in forecasts),
        "usd_per_month": sum(each.usd_per_month for each in forecasts),
    }


def _print_plan(found: Sequence[Planned], why_none: str) -> None:
    if not found:
        click.echo(f"the configuration has no automation{why_none}")
        return
    rows = [_to_row(each) for each in found]
    if len(found) > 1:
        total = _sum_forecasts(found)
        sums = (
            _format_number(total["calls_per_hour"]),
            _format_number(total["calls_per_day"]),
            _format_usd(total["usd_per_month"]),
        )
        rows.append(("all", "", "", "", *sums, "", ""))
    print_columns(rows, _HEADS, _SPARE, "AUTOMATION")
    for each in found:
        for note in _list_notes(each):
            click.echo(escape_controls(f"{each.name}: {note}"))


def _to_row(each: Planned) -> tuple[str, ...]:
    size, forecast = each.size, each.forecast
    if size is None or forecast is None:
        return (each.name, "?", each.learnt_by.value, *["?"] * 6)
    return (
        each.name,
        f"{size.objects:,}" + ("" if size.complete else " or more"),
        each.learnt_by.value,
        format_duration(forecast.every_seconds),
        _format_number(forecast.calls_per_hour),
        _format_number(forecast.calls_per_day),
        _format_usd(forecast.usd_per_month),
        format_duration(forecast.typical_seconds),
        format_duration(forecast.worst_seconds),
    )


def _list_notes(each: Planned) -> Iterator[str]:
    if each.error is not None:
        yield f"{each.error.message}" + (f"; {each.error.hint}" if each.error.hint else "")
    if not each.automation.enabled or each.automation.paused:
        yield "it is paused or disabled, and imports nothing until you resume or enable it"
    if each.forecast is not None and each.forecast.stretched:
        most = each.automation.max_list_calls_per_hour
        yield f"listings are stretched, to keep to {most:,} list calls an hour"
    if each.work is not None and each.work.forecast.calls:
        yield from _list_work_notes(each.work)


def _list_work_notes(work: Work) -> Iterator[str]:
    """Return the cost of processing by a paid processor."""
    needed, usd = work.forecast, work.forecast.cost_usd
    cost = "nobody knows what they cost" if usd is None else f"{_format_usd(usd)} US dollars"
    tokens = f"{needed.input_tokens:,} tokens in and {needed.output_tokens:,} out"
    length = format_duration(work.media_seconds)
    yield (
        f"{work.processor} would process {work.items:,} videos of {length} by at most {needed.calls:,} calls: "
        f"{tokens}, {cost}"
    )
    for shortage in work.shortages:
        yield f"processing would wait: {shortage}"


def _format_number(count: float) -> str:
    return f"{count:,.0f}" if count >= 10 or count == round(count) else f"{count:.1f}"


def _format_usd(amount: float) -> str:
    return f"{amount:,.2f}"
