"""What every test shares."""

from __future__ import annotations

import compileall
import gc
import os
import sys
from collections import defaultdict
from collections.abc import Generator
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from _pytest.assertion import rewrite

import vvwatch
from tests import slices
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


hypothesis.settings.register_profile(  # a busy machine fails no property
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("slice", hypothesis.settings.get_profile("untimed"), max_examples=30)
hypothesis.settings.load_profile("untimed")


sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment] # jsonschema would build 38 grammars of IRIs
sys.dont_write_bytecode = False  # rewriting the assertions takes each worker ten seconds otherwise
gc.disable()  # collecting makes a million objects and no garbage: looking for it took an eighth of the time

TESTS = Path(__file__).parent
LEFT_OUT = pytest.StashKey[int]()

UNIT = (
    "core",
    "config",
    "formats",
    "store",
    "workflow",
    "test_catalogue.py",
    "test_slices.py",
    "test_telemetry.py",
)
SERVERS = (
    "browser",
    "azurite",
    "entra",
    "pubsub",
    "fake_gcs",
    "ministack",
    "moto",
    "seaweed",
    "store_front",
    "world",
    "postgres",
)


def pytest_configure(config: pytest.Config) -> None:
    """The hundreds of processes that tests start compile nothing, also where Python is told to keep no bytecode."""
    config.stash[LEFT_OUT] = 0
    if _is_sliced(config):
        hypothesis.settings.load_profile(
            "slice"
        )  # others at each run: a property is tried as often in three runs
    if not hasattr(config, "workerinput"):
        shares = range(os.cpu_count() or 1)
        forks = [get_context("fork").Process(target=_compile, args=(config, shares[n:])) for n in shares]
        for fork in forks:
            fork.start()
        for fork in forks:
            fork.join()
    start_guardian(config)


def _compile(config: pytest.Config, shares: range) -> None:
    """Compile one share of the modules, tests with their assertions rewritten, which each worker would do else."""
    for path in sorted(Path(vvwatch.__path__[0]).rglob("*.py"))[shares.start :: shares.stop]:
        compileall.compile_file(path, quiet=2)
    for path in sorted(TESTS.rglob("*.py"))[shares.start :: shares.stop]:
        pyc = rewrite.get_cache_dir(path) / f"{path.stem}{rewrite.PYC_TAIL}"
        if not pyc.exists():
            source_hash, code = rewrite._rewrite_test(path, config)
            pyc.parent.mkdir(exist_ok=True)
            rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source_hash, pyc)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Look for garbage again, but never again among the tests and their modules."""
    result = yield
    gc.freeze()
    gc.enable()
    return result


def pytest_report_header(config: pytest.Config) -> str:
    """Say which slice runs."""
    if not _is_sliced(config):
        return "slice: none, each case runs"
    return f"slice: VVWATCH_SEED={slices.SEED} repeats it, VVWATCH_FULL=1 runs each case"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where only `unit` is asked for, look at no other folder: importing them takes longer than the tests."""
    where = collection_path.relative_to(TESTS).parts[:1] if collection_path.is_relative_to(TESTS) else ()
    return True if where and where[0] not in UNIT and config.option.markexpr == "unit" else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what starts no server."""
    where = item.nodeid.removeprefix("tests/").partition("/")[0].partition("::")[0]
    needs_database = "databases" in getattr(item, "fixturenames", ())
    if where in UNIT and _server(item) == "~" and (_engine(item) == "sqlite" or not needs_database):
        item.add_marker("unit")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the slice has not, and order the others."""
    if _is_sliced(config):
        cases = [_case(item) for item in items]
        chosen = slices.choose(cases, slices.SEED)
        left_out = [item for item, case in zip(items, cases, strict=True) if case not in chosen]
        items[:] = [item for item, case in zip(items, cases, strict=True) if case in chosen]
        config.hook.pytest_deselected(items=left_out)
        config.stash[LEFT_OUT] = len(left_out)
    _put_long_ones_first(config, items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker reports what it left out, which is the same in each."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker reports."""
    left_out = getattr(node, "workeroutput", {}).get("left_out", 0)
    node.config.stash[LEFT_OUT] = max(left_out, node.config.stash[LEFT_OUT])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Never leave out silently."""
    if left_out := config.stash[LEFT_OUT]:
        terminalreporter.section("slice")
        terminalreporter.line(
            f"{left_out} cases were left out: VVWATCH_SEED={slices.SEED} repeats this, VVWATCH_FULL=1 runs them all"
        )


def _is_sliced(config: pytest.Config) -> bool:
    """Whether everything is asked for, or a seed is named; else what is named runs whole."""
    asked = {config.rootpath / name for name in config.args}
    everything = asked == {config.rootpath / name for name in config.getini("testpaths")}
    return not slices.FULL and (everything or "VVWATCH_SEED" in os.environ)


def _case(item: pytest.Item) -> slices.Case:
    function, _, parameters = item.nodeid.partition("[")
    engine = _engine(item)
    return slices.Case(function, parameters.replace(engine, "", 1), engine)


def _engine(item: pytest.Item) -> str:
    return str(item.callspec.params.get("dialect", "")) if hasattr(item, "callspec") else ""


def _put_long_ones_first(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What may take minutes goes first, in every process: at the end it would keep the others waiting.

    Each process begins with as many consecutive tests as the others, and takes from theirs when it has done its own.
    Tests of one server stand together, so that few processes start it.
    """
    usual = float(config.getini("timeout"))
    items.sort(key=lambda item: (-_most_seconds(item, usual), _server(item)))
    long = [item for item in items if _most_seconds(item, usual) > usual]
    short = iter(items[len(long) :])
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    dealt: list[pytest.Item] = []
    for number, hard in enumerate(_deal_modules(long, processes, usual)):
        share = (len(items) - len(dealt)) // (processes - number)
        dealt += [*hard, *islice(short, max(share - len(hard), 0))]
    items[:] = [*dealt, *short]


def _deal_modules(items: list[pytest.Item], processes: int, usual: float) -> list[list[pytest.Item]]:
    """Give each process about as much; modules stay whole, for what their tests share may take long to make."""
    modules: dict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        modules[item.path].append(item)
    hands: list[list[pytest.Item]] = [[] for _ in range(processes)]
    for module in modules.values():
        min(hands, key=lambda hand: sum(_most_seconds(item, usual) for item in hand)).extend(module)
    return hands


def _server(item: pytest.Item) -> str:
    """Return the first server that the test names, in its parameters or fixtures."""
    names = [item.name, *getattr(item, "fixturenames", ())]
    return next((server for server in SERVERS if any(server in name for name in names)), "~")


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
