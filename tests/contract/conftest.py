from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.places import CLOUDS, PLACES, PROVIDERS, STORE_PLACES, Cloud, Place


def _made(request: pytest.FixtureRequest, folder: Path) -> Any:
    if request.param in STORE_PLACES:
        return STORE_PLACES[request.param](folder, request.getfixturevalue("store_front"))
    server = request.getfixturevalue(request.param) if request.param in CLOUDS else None
    return PLACES[request.param](folder, server)


@pytest.fixture(params=("local", "fake", *PROVIDERS))
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Each storage in turn, empty. What is essential runs in all `PLACES` instead: servers differ."""
    made: Place = _made(request, tmp_path)
    yield made
    await made.storage.aclose()


@pytest.fixture(params=CLOUDS)
async def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cloud]:
    """Each object store in turn, with an empty bucket."""
    made: Cloud = _made(request, tmp_path)
    yield made
    await made.storage.aclose()
