"""The configuration file's resources in the database, as the file changes."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from vvwatch.config import Config, load
from vvwatch.daemon.declaring import declare
from vvwatch.daemon.wiring import House, build
from vvwatch.errors import VvwatchError
from vvwatch.store.schema import connectors, import_automations, webhooks
from vvwatch.telemetry import Telemetry

pytestmark = pytest.mark.anyio

HEAD = """state_dir = "{base}/state"
[local]
roots = ["{base}"]
[connectors.in]
type = "local"
path = "{base}/in"
scopes = ["import", "export"]
[indexes.one]
[indexes.two]
"""


def automation(name: str, index: str) -> str:
    table = f'[automations.{name}]\nindex = "{index}"\nconnector = "in"\n'
    return table + 'export = { connector = "in", subpath = "out" }\n'


def config(base: Path, text: str) -> Config:
    (base / "in").mkdir(exist_ok=True)
    path = base / "vvwatch.toml"
    path.write_text((HEAD + text).replace("{base}", str(base)))
    return load(path, {})


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = build(config(tmp_path, ""), FakeClock(), Telemetry("test"), {})
    async with house.database.opened():
        yield house
    await house.sender.aclose()


async def all_rows(house: House, table: sa.Table) -> list[sa.Row[Any]]:
    return list(await house.database.read(lambda tx: tx.all(sa.select(table).order_by(table.c.id))))


async def test_a_renamed_automation_goes_on(house: House, tmp_path: Path) -> None:
    await declare(house, config(tmp_path, automation("old", "one")))
    await declare(house, config(tmp_path, automation("new", "one")))
    [row] = await all_rows(house, import_automations)
    assert (row.id, row.enabled, row.declared) == ("auto_old", True, True)


async def test_an_automation_may_move_to_another_index(house: House, tmp_path: Path) -> None:
    await declare(house, config(tmp_path, automation("mine", "one")))
    await declare(house, config(tmp_path, automation("mine", "two")))
    rows = {row.index_id: row for row in await all_rows(house, import_automations)}
    assert (rows["idx_one"].enabled, rows["idx_one"].declared) == (False, False)
    assert (rows["idx_two"].enabled, rows["idx_two"].declared) == (True, True)


async def test_what_left_the_file_stands_still_and_is_no_longer_read_only(
    house: House, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_0123456789abcdef")
    secret.chmod(0o600)
    hook = (
        f'[webhooks.h]\nurl = "https://example.com/"\nevents = ["export.ready"]\nsecret_file = "{secret}"\n'
    )
    await declare(house, config(tmp_path, automation("mine", "one") + hook))
    await declare(house, config(tmp_path, ""))
    [row] = await all_rows(house, import_automations)
    assert (row.enabled, row.declared, row.next_at) == (False, False, None)
    [webhook] = await all_rows(house, webhooks)
    assert (webhook.status, webhook.declared) == ("disabled", False)


async def test_what_was_paused_by_hand_stays_paused(house: House, tmp_path: Path) -> None:
    wanted = config(tmp_path, automation("mine", "one"))
    await declare(house, wanted)
    await house.database.write(lambda tx: tx.update(import_automations, "auto_mine", paused=True))
    await declare(house, wanted)
    [row] = await all_rows(house, import_automations)
    assert row.paused


async def test_an_unchanged_file_edits_nothing(house: House, tmp_path: Path) -> None:
    wanted = config(tmp_path, automation("mine", "one"))
    await declare(house, wanted)
    before = await all_rows(house, import_automations)
    assert isinstance(house.clock, FakeClock)
    house.clock.advance(60)
    await declare(house, wanted)
    after = await all_rows(house, import_automations)
    assert (before[0].updated_at, before[0].generation) == (after[0].updated_at, after[0].generation)


async def test_a_storage_is_opened_once_and_remembers(house: House, tmp_path: Path) -> None:
    """Else each import would meet an empty mount point with fresh eyes and take its files for deleted."""
    await declare(house, config(tmp_path, automation("mine", "one")))
    [connector] = await all_rows(house, connectors)
    assert house.storages(connector) is house.storages(connector)


def test_an_unusable_state_directory_is_said_plainly(tmp_path: Path) -> None:
    wanted = config(tmp_path, "")
    (tmp_path / "state").write_text("a file")
    with pytest.raises(VvwatchError, match="cannot write to the state directory"):
        build(wanted, FakeClock(), Telemetry("test"), {})


async def test_nobody_else_may_read_the_database(house: House) -> None:
    mode = house.config.database_path.stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
