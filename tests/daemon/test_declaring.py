"""The configuration file's resources in the database, as the file changes."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fault_proxy import free_port
from vvwatch.config import Config, ConfigInvalid, load
from vvwatch.daemon.declaring import apply_declarations
from vvwatch.daemon.state import DaemonState, build_app
from vvwatch.daemon.wiring import Components, build_components
from vvwatch.errors import VvwatchError
from vvwatch.ports import Job, Kind
from vvwatch.store.admin import audit
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.schema import connectors, import_automations, webhooks
from vvwatch.store.watching import connector_changes
from vvwatch.telemetry import Telemetry, configure_logging

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
async def components(tmp_path: Path) -> AsyncIterator[Components]:
    components = build_components(config(tmp_path, ""), FakeClock(), Telemetry("test"), {})
    async with components.database.opened():
        yield components
    await components.sender.aclose()


async def all_rows(components: Components, table: sa.Table) -> list[sa.Row[Any]]:
    return list(await components.database.read(lambda tx: tx.all(sa.select(table).order_by(table.c.id))))


async def test_a_renamed_automation_goes_on(components: Components, tmp_path: Path) -> None:
    await apply_declarations(components, config(tmp_path, automation("old", "one")))
    await apply_declarations(components, config(tmp_path, automation("new", "one")))
    [row] = await all_rows(components, import_automations)
    assert (row.id, row.enabled, row.declared) == ("auto_old", True, True)


async def test_an_automation_may_move_to_another_index(components: Components, tmp_path: Path) -> None:
    await apply_declarations(components, config(tmp_path, automation("mine", "one")))
    await apply_declarations(components, config(tmp_path, automation("mine", "two")))
    rows = {row.index_id: row for row in await all_rows(components, import_automations)}
    assert (rows["idx_one"].enabled, rows["idx_one"].declared) == (False, False)
    assert (rows["idx_two"].enabled, rows["idx_two"].declared) == (True, True)


async def test_what_left_the_file_stands_still_and_is_no_longer_read_only(
    components: Components, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_0123456789abcdef")
    secret.chmod(0o600)
    hook = (
        f'[webhooks.h]\nurl = "https://example.com/"\nevents = ["export.ready"]\nsecret_file = "{secret}"\n'
    )
    await apply_declarations(components, config(tmp_path, automation("mine", "one") + hook))
    await apply_declarations(components, config(tmp_path, ""))
    [row] = await all_rows(components, import_automations)
    assert (row.enabled, row.declared, row.next_at) == (False, False, None)
    [webhook] = await all_rows(components, webhooks)
    assert (webhook.status, webhook.declared) == ("disabled", False)


async def test_what_was_paused_by_hand_stays_paused(components: Components, tmp_path: Path) -> None:
    wanted = config(tmp_path, automation("mine", "one"))
    await apply_declarations(components, wanted)
    await components.database.write(lambda tx: tx.update(import_automations, "auto_mine", paused=True))
    await apply_declarations(components, wanted)
    [row] = await all_rows(components, import_automations)
    assert row.paused


async def test_an_unchanged_file_edits_nothing(components: Components, tmp_path: Path) -> None:
    wanted = config(tmp_path, automation("mine", "one"))
    await apply_declarations(components, wanted)
    before = await all_rows(components, import_automations)
    assert isinstance(components.clock, FakeClock)
    components.clock.advance(60)
    await apply_declarations(components, wanted)
    after = await all_rows(components, import_automations)
    assert (before[0].updated_at, before[0].generation) == (after[0].updated_at, after[0].generation)


PLANTED = "pl4nted"
CLOUD = """[connectors.lake]
type = "s3"
bucket = "studio-lake"
endpoint_url = "http://127.0.0.1:{port}"
access_key_id = "AKIA"
secret_access_key_file = "lake-secret"
"""


def cloud(base: Path, secret: str = PLANTED, text: str = "", port: int = 1) -> Config:
    (base / "lake-secret").write_text(secret)
    (base / "lake-secret").chmod(0o600)
    return config(base, CLOUD.replace("{port}", str(port)) + text)


async def lake(components: Components) -> sa.Row[Any]:
    [row] = [row for row in await all_rows(components, connectors) if row.id == "conn_lake"]
    return row


async def test_a_cloud_is_declared_with_sealed_credentials(components: Components, tmp_path: Path) -> None:
    await apply_declarations(components, cloud(tmp_path))
    row = await lake(components)
    assert (row.provider, row.status, row.node, row.declared) == ("s3", "active", "", True)
    assert row.settings == {
        "bucket": "studio-lake",
        "region": "us-east-1",
        "endpoint_url": "http://127.0.0.1:1",
    }
    opened = json.loads(components.box.open(row.credentials))
    assert opened == {"access_key_id": "AKIA", "secret_access_key": PLANTED}


async def test_credentials_that_are_the_same_are_no_edit(components: Components, tmp_path: Path) -> None:
    await apply_declarations(components, cloud(tmp_path))
    before = await lake(components)
    assert isinstance(components.clock, FakeClock)
    components.clock.advance(60)
    await apply_declarations(components, cloud(tmp_path))
    assert await lake(components) == before
    await apply_declarations(components, cloud(tmp_path, "changed"))
    after = await lake(components)
    assert after.updated_at == components.clock.now()
    assert json.loads(components.box.open(after.credentials))["secret_access_key"] == "changed"


async def test_credentials_that_another_key_has_sealed_are_sealed_anew(
    components: Components, tmp_path: Path
) -> None:
    other = SecretBox(b"YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=")
    await apply_declarations(components, cloud(tmp_path))
    lost = other.seal(PLANTED)
    await components.database.write(lambda tx: tx.update(connectors, "conn_lake", credentials=lost))
    await apply_declarations(components, cloud(tmp_path))
    assert (
        json.loads(components.box.open((await lake(components)).credentials))["secret_access_key"] == PLANTED
    )


async def test_credentials_that_left_the_file_are_forgotten(components: Components, tmp_path: Path) -> None:
    await apply_declarations(components, cloud(tmp_path))
    text = '[connectors.lake]\ntype = "s3"\nbucket = "studio-lake"\ncredentials = "ambient"\n'
    await apply_declarations(components, config(tmp_path, text))
    row = await lake(components)
    assert (row.credentials, row.settings["ambient"]) == (None, True)


async def test_a_service_account_that_cannot_sign_in_is_said_with_its_line(
    components: Components, tmp_path: Path
) -> None:
    (tmp_path / "stage.json").write_text(json.dumps({"type": "service_account", "private_key": PLANTED}))
    text = '[connectors.stage]\ntype = "gcs"\nbucket = "studio-stage"\ncredentials_file = "stage.json"\n'
    with pytest.raises(ConfigInvalid) as refused:
        await apply_declarations(components, config(tmp_path, text))
    [problem] = refused.value.problems
    assert (problem.line, problem.key) == (13, "connectors.stage.credentials_file")
    assert "lack" in problem.what
    assert PLANTED not in str(problem)


async def test_credentials_are_in_no_log_and_in_no_file_of_the_daemon(
    components: Components, tmp_path: Path
) -> None:
    """Though the store is away, and that is said."""
    log = StringIO()
    components.telemetry._log = configure_logging("json", "debug", log, {})
    table = '[automations.lake]\nindex = "one"\nconnector = "lake"\n'
    wanted = cloud(tmp_path, text=table, port=free_port())
    await apply_declarations(components, wanted)
    [row] = await all_rows(components, import_automations)
    await components.watcher.scan(Job(Kind.SCAN, row.id, row.revision, row.next_at))
    await components.storages.aclose()
    [row] = await all_rows(components, import_automations)
    assert "127.0.0.1" in row.last_error
    assert "scan.failed" in log.getvalue()
    said = f"{wanted!r}{components!r}{row!r}{log.getvalue()}".encode()
    files = [path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert PLANTED.encode() not in said + b"".join(files)


def _edited(tx: Tx, values: dict[str, Any]) -> None:
    tx.update(connectors, "conn_in", **values)


async def test_what_is_on_a_disabled_connector_stands_still_and_says_so(
    components: Components, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in" / "a.mp4").write_bytes(b"a")
    await apply_declarations(components, config(tmp_path, automation("mine", "one") + 'settle = "0s"\n'))

    async def scanned() -> sa.Row[Any]:
        [row] = await all_rows(components, import_automations)
        await components.watcher.scan(Job(Kind.SCAN, row.id, row.revision, row.next_at))
        return (await all_rows(components, import_automations))[0]

    for status, error in (("disabled", "connector 'conn_in' is disabled"), ("active", None)):
        values = {"status": status, "declared": False, "updated_at": components.clock.now()}
        await components.database.write(_edited, values)
        assert (await scanned()).last_error == error
        assert isinstance(components.clock, FakeClock)
        components.clock.advance(60)
    await components.database.write(connector_changes.change, "conn_in", {"status": "disabled"})
    row = await scanned()
    assert (row.last_error, row.enabled, row.paused) == ("connector 'conn_in' is disabled", True, False)
    assert row.next_at is not None


async def test_a_storage_is_opened_once_and_remembers(components: Components, tmp_path: Path) -> None:
    """Else each import would meet an empty mount point with fresh eyes and take its files for deleted."""
    await apply_declarations(components, config(tmp_path, automation("mine", "one")))
    [connector] = await components.database.read(catalog.list_connectors)
    assert components.storages(connector) is components.storages(connector)


def test_an_unusable_state_directory_is_said_plainly(tmp_path: Path) -> None:
    wanted = config(tmp_path, "")
    (tmp_path / "state").write_text("a file")
    with pytest.raises(VvwatchError, match="cannot write to the state directory"):
        build_components(wanted, FakeClock(), Telemetry("test"), {})


async def test_nobody_else_may_read_the_database(components: Components) -> None:
    mode = components.config.database_path.stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


async def test_events_follow_the_file_and_are_begun_with_a_listing(tmp_path: Path) -> None:
    bucket = '[connectors.lake]\ntype = "s3"\nbucket = "lake"\ncredentials = "ambient"\n'
    queue = "https://sqs.eu-central-1.amazonaws.com/123456789012/lake"
    watching = '[automations.a]\nindex = "one"\nconnector = "lake"\n'
    events = f'[connectors.lake.events]\nqueue = "{queue}"\nsweep_interval = "10m"\n'
    components = build_components(config(tmp_path, bucket + watching), FakeClock(), Telemetry("test"), {})

    async def declared(text: str) -> Any:
        await apply_declarations(components, config(tmp_path, text))
        return await components.database.read(lambda tx: tx.require(connectors, "connector", "conn_lake"))

    async with components.database.opened():
        first = await declared(bucket + watching)
        assert first.events is None
        told = await declared(bucket + events + watching)
        assert told.events == {
            "queue": queue,
            "mode": "exclusive",
            "sweep_seconds": 600.0,
            "late_seconds": 60.0,
        }
        assert (await declared(bucket + events + watching)) == told
        assert (await declared(bucket + watching)).events is None
    await components.sender.aclose()


async def test_queues_of_the_api_may_lie_with_the_configured_stores(tmp_path: Path) -> None:
    text = '[storage.s3]\nendpoint_url = "http://minio.local:9000"\n[storage.azure]\nendpoint_url = "https://[::1]:1/a"\n'
    components = build_components(config(tmp_path, text), FakeClock(), Telemetry("test"), {})
    app = build_app(components, DaemonState(0.0), "127.0.0.1:8787")
    assert app.state.context.settings.store_hosts == {"s3": "minio.local", "azure": "::1"}
    await components.sender.aclose()


async def entries(components: Components) -> list[tuple[str, str, tuple[str, ...]]]:
    rows = await components.database.read(audit.list_newest, audit.AuditFilter(actor="config"), None, 100)
    return [
        (row.action, row.resource_id, tuple((row.details or {}).get("fields", ()))) for row in reversed(rows)
    ]


async def test_the_audit_trail_names_what_the_file_made_changed_and_released(
    components: Components, tmp_path: Path
) -> None:
    await apply_declarations(components, config(tmp_path, automation("mine", "one")))
    made = await entries(components)
    for action, identifier in [
        ("connector.created", "conn_in"),
        ("index.created", "idx_one"),
        ("automation.created", "auto_mine"),
        ("automation.created", "auto_mine_export"),
        ("key.created", "key_admin"),
    ]:
        assert (action, identifier, ()) in made
    await apply_declarations(components, config(tmp_path, automation("mine", "one")))
    assert await entries(components) == made, "the same file changes nothing"
    learnt = {"cadence": {"full_at": 1.0, "next_full_at": 2.0}}
    await components.database.write(lambda tx: tx.update(import_automations, "auto_mine", **learnt))
    await apply_declarations(components, config(tmp_path, automation("mine", "one")))
    assert await entries(components) == made, "nor does it after scans"
    text = automation("mine", "one").replace('"in"\n', '"in"\nsettle = "9s"\n', 1)
    await apply_declarations(components, config(tmp_path, text))
    await apply_declarations(components, config(tmp_path, ""))
    assert (await entries(components))[len(made) :] == [
        ("automation.changed", "auto_mine", ("settle_seconds",)),
        ("automation.released", "auto_mine", ()),
        ("automation.released", "auto_mine_export", ()),
    ]


async def test_another_admin_key_has_an_entry_without_itself(components: Components, tmp_path: Path) -> None:
    await apply_declarations(components, config(tmp_path, ""))
    before = len(await entries(components))
    (tmp_path / "state" / "admin.key").write_text("sk_live_" + "7" * 48)
    await apply_declarations(components, config(tmp_path, ""))
    rows = await components.database.read(
        audit.list_newest, audit.AuditFilter(action="key.changed"), None, 100
    )
    assert len(await entries(components)) == before + 1
    assert [(row.resource_id, row.details) for row in rows] == [
        ("key_admin", {"name": "admin", "fields": ["digest", "key_prefix"]})
    ]
    assert "7777" not in str(rows)
    assert "7777" not in str(rows)
