"""What every test shares."""

from __future__ import annotations

import compileall
from itertools import islice

import hypothesis
import pytest

import vvwatch
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
from tests.emulators.store_front import store_front
from tests.guardian import pytest_unconfigure, start_guardian
from tests.postgres_server import postgres_server
from tests.sdk.world import world

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
    "pytest_unconfigure",
    "seaweed",
    "store_front",
    "world",
]


hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine fails no property
hypothesis.settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """The hundreds of processes that tests start compile nothing, also where Python is told to keep no bytecode."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(vvwatch.__path__[0], quiet=2)
    start_guardian(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What may take minutes goes first, in every process: at the end it would keep the others waiting.

    Each process begins with as many consecutive tests as the others, and takes from theirs when it has done its own.
    """
    usual = float(config.getini("timeout"))
    items.sort(key=lambda item: -_most_seconds(item, usual))
    long = [item for item in items if _most_seconds(item, usual) > usual]
    short = iter(items[len(long) :])
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    dealt: list[pytest.Item] = []
    for number in range(processes):
        share = (len(items) - len(dealt)) // (processes - number)
        hard = long[number::processes]
        dealt += [*hard, *islice(short, max(share - len(hard), 0))]
    items[:] = [*dealt, *short]


def _most_seconds(item: pytest.Item, usual: float) -> float:
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark else usual


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
