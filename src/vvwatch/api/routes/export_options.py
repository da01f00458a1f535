"""The formats and the layout of exports, in requests and responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from vvwatch.api.http.wire import Body, Resource
from vvwatch.core.exports import JSON, ExportOptions, check_options
from vvwatch.extras import require_extra
from vvwatch.formats.registry import FORMATS


class ExportOptionsBody(Body):
    """The formats of an export, and how its files are named and divided; without it there is one JSON document."""

    formats: Annotated[list[str], Field(min_length=1, max_length=50, default_factory=lambda: [JSON])]
    name: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    files: Literal["run", "item"] = "run"
    sidecars: bool = False
    pretty: bool = False
    latest: bool = False

    def to_options(self) -> ExportOptions:
        """Return the options. Raises InvalidInput for unknown formats, bad names and formats not installed here."""
        options = ExportOptions(**{**self.model_dump(), "formats": tuple(self.formats)})
        check_options(options, FORMATS)
        for name in options.formats:
            if name in FORMATS:
                require_extra(FORMATS[name].extra, f"the format {name!r}")
        return options


class ExportOptionsShown(Resource):
    """The formats and the layout of an export."""

    formats: list[str]
    name: str | None
    files: str
    sidecars: bool
    pretty: bool
    latest: bool


def to_shown(options: Mapping[str, Any] | None) -> ExportOptionsShown | None:
    """Return stored options as a response; None for the usual ones."""
    return None if options is None else ExportOptionsShown(**options)
