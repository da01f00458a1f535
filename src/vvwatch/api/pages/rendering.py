"""Render templates to HTML with the security headers of all pages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FunctionLoader, StrictUndefined, Undefined, pass_context
from jinja2.runtime import Context

from vvwatch.api.pages.assets import asset_url
from vvwatch.api.pages.foreign import make_visible
from vvwatch.api.pages.wording import (
    Moment,
    choose_noun,
    describe_amount,
    describe_bytes,
    describe_moment,
    describe_seconds,
    draw_icon,
    mark_state,
)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""The Content-Security-Policy of every page: nothing inline, nothing from another host."""

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
}


def render_html(template: str, values: Mapping[str, Any], now: float, status: int = 200) -> HTMLResponse:
    """Return the page that `template` makes of `values`; relative times are seen from `now` (epoch seconds)."""
    text = _environment().get_template(template).render(values, now=now)
    return HTMLResponse(text, status, headers=HEADERS)


def render_text(source: str, values: Mapping[str, Any]) -> str:
    """Return what a piece of a template makes of `values`; it may import the others."""
    return _environment().from_string(source).render(values)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FunctionLoader(_load_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"moment": _moment, "size": describe_bytes, "length_of_time": describe_seconds}
    made.globals |= {"asset": asset_url, "mark": mark_state, "icon": draw_icon}
    made.filters["count"] = "{:,}".format
    made.filters |= {"visible": make_visible, "amount": describe_amount, "noun": choose_noun}
    return made


def _load_template(name: str) -> str:
    return (files("vvwatch.api.pages") / "templates" / name).read_text(encoding="utf-8")


@pass_context
def _moment(context: Context, at: float | str | Undefined | None) -> Moment | None:
    """Return a time as pages show it."""
    return None if isinstance(at, Undefined) else describe_moment(at, context["now"])
