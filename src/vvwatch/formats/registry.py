"""All formats by their names. The JSON document itself is not one of them: the export is built on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vvwatch.formats.captions import CHAPTERS, SRT, VTT
from vvwatch.formats.comma_separated import CSV
from vvwatch.formats.edl import EDL, EDL_RESOLVE
from vvwatch.formats.fcp7 import FCP7
from vvwatch.formats.fcpxml import FCPXML
from vvwatch.formats.items import Format
from vvwatch.formats.json_lines import JSONL
from vvwatch.formats.otio import OTIO
from vvwatch.formats.parquet import PARQUET

_ALL: Final[tuple[Format, ...]] = (
    JSONL,
    CSV,
    PARQUET,
    VTT,
    SRT,
    CHAPTERS,
    OTIO,
    EDL,
    EDL_RESOLVE,
    FCP7,
    FCPXML,
)

FORMATS: Final[Mapping[str, Format]] = {each.name: each for each in _ALL}
"""Every format but `json`."""
