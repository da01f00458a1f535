"""Several nodes on one database: who has which folder, which key opens what, what a start leaves alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.databases import Databases
from vvwatch.config import Config, load
from vvwatch.core.keys import digest_key
from vvwatch.daemon.declaring import apply_declarations
from vvwatch.daemon.files import load_admin_key
from vvwatch.daemon.wiring import Components, build_components
from vvwatch.errors import OnAnotherNode, SecretKeyMismatch
from vvwatch.ports import Kind
from vvwatch.providers.local.source import FolderSource
from vvwatch.store.admin import keys
from vvwatch.store.admin.secret_keys import KEY_FILE
from vvwatch.store.catalog import catalog
from vvwatch.store.db.queues import queue_of
from vvwatch.store.schema import connectors, import_automations
from vvwatch.store.watching import automations
from vvwatch.telemetry import Telemetry

pytestmark = pytest.mark.anyio

TEXT = """state_dir = "{base}/state-{node}"
database_url = "{url}"
[node]
name = "{node}"
[local]
roots = ["{base}"]
[connectors.mine]
type = "local"
path = "{base}/mine"
node = "a"
[connectors.everybodys]
type = "local"
path = "{base}/everybodys"
shared = true
[indexes.one]
[indexes.two]
[automations.one]
index = "one"
connector = "mine"
[automations.two]
index = "two"
connector = "everybodys"
"""
SECRET_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def config(base: Path, node: str, url: str) -> Config:
    for name in ("mine", "everybodys"):
        (base / name).mkdir(exist_ok=True)
    path = base / f"{node}.toml"
    path.write_text(TEXT.format(base=base, node=node, url=url))
    return load(path, {})


@asynccontextmanager
async def started(config: Config, secret_key: str = SECRET_KEY) -> AsyncIterator[Components]:
    """A node as it is right after its start."""
    components = build_components(config, FakeClock(), Telemetry("test"), {"VVWATCH_SECRET_KEY": secret_key})
    async with components.database.opened():
        await components.engine.setup()
        await apply_declarations(components, config)
        yield components
    await components.sender.aclose()


@pytest.fixture
async def nodes(databases: Databases, tmp_path: Path) -> AsyncIterator[tuple[Components, Components]]:
    async with AsyncExitStack() as stack:
        stack.enter_context(databases.fresh("postgresql"))
        a = await stack.enter_async_context(started(config(tmp_path, "a", databases.url)))
        b = await stack.enter_async_context(started(config(tmp_path, "b", databases.url)))
        yield a, b


async def test_work_on_a_nodes_own_folder_waits_in_its_own_queue(
    nodes: tuple[Components, Components],
) -> None:
    a, b = nodes
    queues = [
        await a.database.read(lambda tx, ref=ref: queue_of(tx.conn, Kind.SCAN, ref))  # type: ignore[misc]
        for ref in ("auto_one", "auto_two")
    ]
    assert queues == ["scan@a", "scan"]
    served = [{queue for lane in components.lanes() for queue in lane.queues} for components in (a, b)]
    assert [set(queues) <= each for each in served] == [True, False]


async def test_only_its_own_node_opens_a_folder(nodes: tuple[Components, Components]) -> None:
    a, b = nodes
    rows = await a.database.read(catalog.list_connectors)
    [mine] = [row for row in rows if row.id == "conn_mine"]
    a.storages(mine)
    with pytest.raises(OnAnotherNode, match="is on the node 'a'; this one is 'b'"):
        b.storages(mine)


async def test_a_folders_events_are_heard_where_it_is_and_of_a_shared_one_nowhere(
    nodes: tuple[Components, Components],
) -> None:
    for components, heard in zip(nodes, ({"auto_one"}, set[str]()), strict=True):
        active = await components.database.read(automations.list_active)
        sources = {row.id: components.subscriptions._make(row, connector) for row, connector in active}
        assert {name for name, source in sources.items() if isinstance(source, FolderSource)} == heard


async def test_the_key_that_each_node_made_for_itself_opens_on_all(
    nodes: tuple[Components, Components],
) -> None:
    a, b = nodes
    for key in (load_admin_key(a.config), load_admin_key(b.config)):
        assert await b.database.read(keys.find_active, digest_key(key)) is not None


async def test_another_secret_key_is_refused_before_it_seals_anything(
    nodes: tuple[Components, Components], databases: Databases, tmp_path: Path
) -> None:
    other = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="
    with pytest.raises(SecretKeyMismatch, match="another secret key") as refused:
        async with started(config(tmp_path, "c", databases.url), other):
            pass
    assert KEY_FILE in refused.value.hint


async def test_a_node_that_starts_leaves_the_others_scans_alone(
    nodes: tuple[Components, Components], databases: Databases, tmp_path: Path
) -> None:
    a, _ = nodes
    columns = import_automations.c.id, import_automations.c.revision, import_automations.c.next_at
    before = await a.database.read(lambda tx: tx.all(sa.select(*columns)))
    async with started(config(tmp_path, "c", databases.url)):
        assert await a.database.read(lambda tx: tx.all(sa.select(*columns))) == before


async def test_the_one_node_of_a_file_has_every_folder(tmp_path: Path) -> None:
    async with started(config(tmp_path, "b", "sqlite:///vvwatch.db")) as components:
        rows = await components.database.read(lambda tx: tx.all(sa.select(connectors)))
        assert {row.node for row in rows} == {""}


async def test_a_nodes_clock_that_is_set_changes_nothing(nodes: tuple[Components, Components]) -> None:
    a, _ = nodes
    before = a.clock.now()
    own = a.clock._own  # type: ignore[attr-defined]
    own.jump(3600)
    assert a.clock.now() == before
    own.advance(5)
    assert a.clock.now() == before + 5
