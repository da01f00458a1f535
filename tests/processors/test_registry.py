"""Processors of every type are opened from the configuration, and nothing is started or asked by that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clock import FakeClock
from vvwatch.config import Config, load
from vvwatch.config.processors import KINDS
from vvwatch.core.processors import Rates
from vvwatch.errors import ProcessorPaused
from vvwatch.ports.processing import Limiter
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.registry import ClosedLimiter, Resources, open_processors

pytestmark = pytest.mark.anyio

EVERY_TYPE = """
[processors.gpt]
type = "openai"
models = ["gpt-*"]
base_url = "http://127.0.0.1:1/v1"
model = "m"
requests_per_minute = 60
max_in_flight = 3
[processors.ocr]
type = "command"
command = ["/bin/false"]
[processors.hosted]
type = "videovector"
base_url = "http://127.0.0.1:1/api/v2"
index_id = "idx_1"
api_key_env = "UPSTREAM"
"""


def configured(folder: Path, text: str) -> Config:
    path = folder / "vvwatch.toml"
    path.write_text(text)
    return load(path, {"HOME": str(folder), "UPSTREAM": "sk_live_0123456789abcdef"})


async def test_processors_of_every_type_are_opened(tmp_path: Path) -> None:
    config, limited = configured(tmp_path, EVERY_TYPE), dict[str, Rates]()

    def limiter(name: str, rates: Rates) -> Limiter:
        limited[name] = rates
        return ClosedLimiter()

    emitted: list[Any] = []
    resources = Resources(Limits(), tmp_path, FakeClock(), limiter, lambda *told, **_: emitted.append(told))
    processors = open_processors(config, resources)
    try:
        assert {name: each.info for name, each in processors.items()} == config.processor_names.infos
        assert {each.info.type for each in processors.values()} == set(KINDS)
        assert limited["gpt"] == Rates(60, None, 3)
        assert emitted == []
    finally:
        for processor in processors.values():
            await processor.aclose()


async def test_who_only_asks_what_processors_would_do_makes_no_call() -> None:
    with pytest.raises(ProcessorPaused, match="no processor is called here"):
        ClosedLimiter().slot()
