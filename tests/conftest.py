"""What every test shares."""

from __future__ import annotations

import hypothesis
import pytest

from tests.databases import DIALECTS, Databases
from tests.emulators.azurite import (
    azurite,
    azurite_oauth,
    azurite_queues,
    azurite_queues_oauth,
    entra,
)
from tests.emulators.fake_gcs import fake_gcs
from tests.emulators.ministack import ministack
from tests.emulators.moto import moto, moto_iam
from tests.emulators.pubsub import pubsub
from tests.emulators.seaweed import seaweed
from tests.postgres_server import postgres_server

__all__ = [
    "azurite",
    "azurite_oauth",
    "azurite_queues",
    "azurite_queues_oauth",
    "entra",
    "fake_gcs",
    "ministack",
    "moto",
    "moto_iam",
    "postgres_server",
    "pubsub",
    "seaweed",
]


hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine fails no property
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes goes first: at the end it would keep one process waiting for the other."""
    items.sort(key=lambda item: "tests/crash/" not in item.nodeid)


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
