"""What every test shares."""

from __future__ import annotations

import pytest

from tests.databases import DIALECTS, Databases
from tests.postgres_server import postgres_server

__all__ = ["postgres_server"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    """Everything that asks for it, or for a database, runs once on each engine."""
    return str(request.param)


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Makes fresh databases; the server starts when the first test wants it."""
    return Databases(tmp_path_factory.mktemp("databases"), lambda: request.getfixturevalue("postgres_server"))
