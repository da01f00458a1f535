"""Connectors to real servers, from a request or the configuration file to the objects that are there."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from tests.api.asking import ADMIN_KEY, BASE_URL
from tests.clock import FakeClock
from tests.emulators.azurite import Azurite, make_container
from tests.emulators.fake_gcs import FakeGcs
from tests.emulators.fake_gcs import make_bucket as make_gcs_bucket
from tests.emulators.s3_server import S3Server, make_bucket, raw_client
from tests.providers.gcs.gcs_places import service_account
from vvwatch.config import load
from vvwatch.daemon.declaring import apply_declarations
from vvwatch.daemon.state import DaemonState, build_app
from vvwatch.daemon.wiring import Components, build_components
from vvwatch.store.catalog import catalog
from vvwatch.telemetry import Telemetry

pytestmark = pytest.mark.anyio

BOTH = ["import", "export"]


@asynccontextmanager
async def started(
    folder: Path, text: str, **secret_files: str
) -> AsyncIterator[tuple[Components, httpx2.AsyncClient]]:
    """A daemon's parts over a configuration, and a client of its API."""
    for name, secret in secret_files.items():
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    (folder / "vvwatch.toml").write_text(f'state_dir = "{folder}/state"\n{text}')
    config = load(folder / "vvwatch.toml", {"VVWATCH_ADMIN_KEY": ADMIN_KEY})
    components = build_components(config, FakeClock(), Telemetry("test"), {})
    async with AsyncExitStack() as ending:
        ending.push_async_callback(components.sender.aclose)
        await ending.enter_async_context(components.database.opened())
        ending.push_async_callback(components.storages.aclose)
        components.clear_spool()
        await apply_declarations(components, config)
        transport = httpx2.ASGITransport(build_app(components, DaemonState(0.0), "127.0.0.1:8787"))
        headers = {"X-API-Key": ADMIN_KEY}
        async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL, headers=headers) as client:
            yield components, client


async def seen(client: httpx2.AsyncClient, answer: httpx2.Response, key: str) -> Any:
    """The connector that was made, which has the object at `key` alone."""
    assert answer.status_code == 201, answer.text
    connector = answer.json()
    assert (connector["status"], connector["last_test_error"]) == ("active", None)
    found = await client.post(f"/api/v2/connectors/{connector['connector_id']}/browse")
    assert [each["path"] for each in found.json()] == [key]
    return connector


async def check_declared(components: Components) -> None:
    """Each declared connector can be read and written to."""
    for row in await components.database.read(catalog.list_connectors):
        storage = await anyio.to_thread.run_sync(components.storages.for_work, row)
        await storage.check(read=True, write_below="out")


async def explained(client: httpx2.AsyncClient, uri: str) -> list[str]:
    answer = await client.get("/api/v2/explain", params={"uri": uri})
    assert answer.status_code == 200, answer.text
    return [place["connector_id"] for place in answer.json()["places"]]


async def test_s3(moto_iam: S3Server, tmp_path: Path) -> None:
    bucket = f"b-{secrets.token_hex(8)}"
    await make_bucket(moto_iam, bucket)
    async with raw_client(moto_iam) as s3:
        await s3.put_object(Bucket=bucket, Key="a b.mp4", Body=b"x")
    endpoint = f'endpoint_url = "{moto_iam.endpoint_url}"\n'
    text = f'[storage.s3]\n{endpoint}[connectors.own]\ntype = "s3"\nbucket = "{bucket}"\n'
    text += f'scopes = ["import", "export"]\n{endpoint}secret_access_key_file = "key"\n'
    text += f'access_key_id = "{moto_iam.access_key_id}"\n'
    key = {"aws_access_key_id": moto_iam.access_key_id, "aws_secret_access_key": moto_iam.secret_access_key}
    body = {"name": "rushes", "bucket": bucket, "region": "us-east-1", "scopes": BOTH, **key}
    async with started(tmp_path, text, key=moto_iam.secret_access_key) as (components, client):
        await check_declared(components)
        made = await seen(client, await client.post("/api/v2/connectors/s3", json=body), "a b.mp4")
        wrong = {**body, "aws_secret_access_key": "wrong"}
        failed = (await client.post("/api/v2/connectors/s3", json=wrong)).json()
        assert failed["status"] == "failed"
        assert moto_iam.endpoint_url in failed["last_test_error"] or bucket in failed["last_test_error"]
        mended = await client.patch(f"/api/v2/connectors/{failed['connector_id']}", json=key)
        assert mended.json()["status"] == "active"
        ids = ["conn_own", made["connector_id"], failed["connector_id"]]
        assert sorted(await explained(client, f"s3://{bucket}/a b.mp4")) == sorted(ids)


async def test_gcs(fake_gcs: FakeGcs, tmp_path: Path) -> None:
    bucket = make_gcs_bucket(fake_gcs, f"b-{secrets.token_hex(8)}")
    fake_gcs.put(bucket, "a b.mp4", b"x")
    text = f'[storage.gcs]\nendpoint_url = "{fake_gcs.endpoint_url}"\n'
    text += f'[connectors.own]\ntype = "gcs"\nbucket = "{bucket}"\nscopes = ["import", "export"]\n'
    form = {"name": "stage", "bucket": bucket, "gcp_project_id": "studio", "scopes": BOTH}
    files = {"credentials_file": ("key.json", service_account(), "application/json")}
    async with started(tmp_path, text) as (components, client):
        await check_declared(components)
        answer = await client.post("/api/v2/connectors/gcs", data=form, files=files)
        made = await seen(client, answer, "a b.mp4")
        for uri in (f"gs://{bucket}/a b.mp4", f"{fake_gcs.endpoint_url}/{bucket}/a%20b.mp4"):
            assert made["connector_id"] in await explained(client, uri)


async def test_azure(azurite_oauth: Azurite, tmp_path: Path) -> None:
    container = make_container(azurite_oauth)
    container.put("a b.mp4")
    where = f'endpoint_url = "{azurite_oauth.endpoint_url}"\nca_file = "{azurite_oauth.ca_file}"\n'
    authority = f'authority_url = "{azurite_oauth.authority_url}"\n'
    own = f'type = "azure"\nstorage_account = "{azurite_oauth.account}"\ncontainer = "{container.name}"\n'
    own += 'scopes = ["import", "export"]\n'
    who = {"tenant_id": azurite_oauth.tenant_id, "client_id": azurite_oauth.client_id}
    text = f"[storage.azure]\n{where}{authority}"
    text += f'[connectors.key]\n{own}account_key_file = "key"\n'
    text += f'[connectors.secret]\n{own}{where}{authority}client_secret_file = "secret"\n'
    text += "".join(f'{name} = "{value}"\n' for name, value in who.items())
    body = {
        "name": "footage",
        "storage_account": azurite_oauth.account,
        "container": container.name,
        "scopes": BOTH,
        "client_secret": azurite_oauth.client_secret,
        **who,
    }
    files = {"key": azurite_oauth.account_key, "secret": azurite_oauth.client_secret}
    async with started(tmp_path, text, **files) as (components, client):
        await check_declared(components)
        made = await seen(client, await client.post("/api/v2/connectors/azure", json=body), "a b.mp4")
        wrong = {**body, "client_secret": "wr0ng"}
        failed = (await client.post("/api/v2/connectors/azure", json=wrong)).json()
        assert failed["status"] == "failed"
        assert "wr0ng" not in failed["last_test_error"]
        uri = f"{azurite_oauth.endpoint_url}/{container.name}/a%20b.mp4"
        assert made["connector_id"] in await explained(client, uri)


async def test_the_spool_is_the_configured_one(tmp_path: Path) -> None:
    async with started(tmp_path, f"[processing]\nspool_bytes = {64 << 20}\n") as (components, _):
        assert (components.storages.spool._folder, components.storages.spool._max_bytes) == (
            components.spool,
            64 << 20,
        )
