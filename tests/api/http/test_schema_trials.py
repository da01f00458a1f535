"""What a schema of strangers may reach that takes over the validator: nothing."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.processors.conftest import Shelf, shelf
from tests.processors.sandbox.test_reaches import ATTEMPTS, check_untouched, port, state
from vvwatch.api.http import schema_trials

__all__ = ["port", "shelf", "state"]
pytestmark = pytest.mark.anyio

VALIDATES = "find_misfit(*json.load(sys.stdin))"
CODE = schema_trials._CHILD.format(memory_bytes=1 << 30, cpu_seconds=5)


async def run(validates: str, given: Any = None) -> Any:
    assert VALIDATES in CODE
    code = ATTEMPTS + CODE.replace(VALIDATES, validates)
    command = [sys.executable, "-I", "-c", code, schema_trials._ROOT]
    ended = await anyio.run_process(command, input=json.dumps(given).encode(), env={})
    return json.loads(ended.stdout)


async def test_code_in_the_place_of_the_validator_reaches_nothing(
    shelf: Shelf, state: Path, port: int
) -> None:
    place = [str(state), os.getpid(), port, str(shelf.usual("png"))]

    found = await run("outcomes(*json.load(sys.stdin))", place)

    assert {name for name, outcome in found.items() if outcome != "refused"} == set()
    assert len(found) > 40
    check_untouched(state)


async def test_it_has_limits_and_nothing_of_the_environment() -> None:
    names = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_CORE")
    limits = f"[resource.getrlimit(getattr(resource, name))[0] for name in {names!r}]"

    assert await run(limits) == [1 << 30, 5, 0, 0]
    assert set(await run("sorted(os.environ)")) <= {"LC_CTYPE"}  # Python sets this one itself
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 1 << 30
