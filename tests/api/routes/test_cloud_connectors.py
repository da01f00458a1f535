"""Connectors for object stores over the API: what they may be called, and that no credential comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api, client_of
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.providers.gcs.gcs_places import service_account
from vvwatch.api.http.context import ApiContext
from vvwatch.errors import CredentialsRefused, StorageUnavailable
from vvwatch.ports import Storage
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec
from vvwatch.store.db.database import Database
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.models.catalog import Connector
from vvwatch.store.schema import connectors

pytestmark = pytest.mark.anyio

PLANTED = "pl4nted"
S3 = {
    "name": "rushes",
    "bucket": "studio-rushes",
    "region": "eu-central-1",
    "aws_access_key_id": f"AKIA{PLANTED}",
    "aws_secret_access_key": f"{PLANTED}/secret+key",
}
AZURE = {
    "name": "footage",
    "storage_account": "studiofootage",
    "container": "footage",
    "tenant_id": "8d5f0d27-aaaa-4bbb-8ccc-0123456789ab",
    "client_id": f"{PLANTED}-client",
    "client_secret": f"{PLANTED}~secret",
}
GCS = {"name": "stage", "bucket": "studio_stage.example.org", "gcp_project_id": "studio"}
EMPTY = dict.fromkeys(
    ("path", "bucket", "region", "storage_account", "container", "gcp_project_id", "node", "events")
)


def file(content: str | bytes) -> dict[str, Any]:
    return {"credentials_file": ("key.json", content, "application/json")}


async def made_gcs(
    api: Api, changes: Mapping[str, Any] = GCS, *, status: int = 201, content: str | bytes = ""
) -> Any:
    form = {name: value for name, value in {**GCS, **changes}.items() if value is not None}
    files = file(content or service_account(private_key_id=PLANTED))
    return await api.ask("POST", "/connectors/gcs", status=status, data=form, files=files)


async def made(api: Api, provider: str, **changes: Any) -> Any:
    if provider == "gcs":
        return await made_gcs(api, changes)
    body = {"s3": S3, "azure": AZURE}[provider]
    return await api.post(f"/connectors/{provider}", {**body, **changes}, status=201)


async def row_of(database: Database, connector: str) -> sa.Row[Any]:
    return await database.read(lambda tx: tx.require(connectors, "connector", connector))


async def kept(api: Api, connector: str) -> Any:
    """The credentials of a connector, opened."""
    row = await row_of(api.context.database, connector)
    return json.loads(api.context.box.open(row.credentials))


@pytest.mark.parametrize(
    ("provider", "place", "credentials"),
    [
        (
            "s3",
            {"bucket": "studio-rushes", "region": "eu-central-1"},
            {"access_key_id": S3["aws_access_key_id"], "secret_access_key": S3["aws_secret_access_key"]},
        ),
        (
            "azure",
            {"storage_account": "studiofootage", "container": "footage"},
            {name: AZURE[name] for name in ("tenant_id", "client_id", "client_secret")},
        ),
        ("gcs", {"bucket": "studio_stage.example.org", "gcp_project_id": "studio"}, None),
    ],
)
async def test_a_connector_is_made_and_tested(
    api: Api, provider: str, place: dict[str, str], credentials: Mapping[str, str] | None
) -> None:
    answer = await made(api, provider, scopes=["import", "export"], export_base_path="a//b/")
    identified = {
        name: answer[name] for name in ("connector_id", "name", "created_at", "updated_at", "last_tested_at")
    }
    assert answer == {
        **identified,
        **EMPTY,
        **place,
        "provider": provider,
        "status": "active",
        "scopes": ["import", "export"],
        "import_mode": "all",
        "export_base_path": "a/b",
        "declared": False,
        "last_test_result": "success",
        "last_test_error": None,
    }
    sealed = await kept(api, answer["connector_id"])
    assert sealed == (credentials or {name: sealed[name] for name in sealed})
    assert PLANTED in str(sealed)
    assert await api.get("/connectors") == [answer]


@pytest.mark.parametrize("provider", ["s3", "azure", "gcs"])
async def test_one_that_fails_its_test_is_made_all_the_same(
    api: Api, storage: FakeStorage, provider: str
) -> None:
    storage.broken = CredentialsRefused("the store does not know this key", "make another one")
    answer = await made(api, provider)
    assert (answer["status"], answer["scopes"]) == ("failed", ["import"])
    assert answer["last_test_error"] == "the store does not know this key: make another one"
    error = await api.error("POST", f"/connectors/{answer['connector_id']}/browse", 503, json={})
    assert error["code"] == "credentials_refused"


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (
            "bucket",
            ["abc", "a.b-c", "0" * 63],
            [
                "ab",
                "a" * 64,
                "Abc",
                "a_b",
                "-ab",
                "ab-",
                "a..b",
                "10.0.0.1",
                "a/b",
                "a@b.c",
                "a b",
                "abc\n",
                "é" * 3,
            ],
        ),
        (
            "region",
            ["us-east-1", "auto", "1"],
            ["", "US", "a.b", "a/b", "-a", "a-", "a" * 64, "x\n", "a@evil.org#"],
        ),
        ("aws_access_key_id", ["AKIA", "minio+key"], ["", "a/b", "a,b", "a b", "é", "a\n", "x" * 129]),
        ("aws_secret_access_key", ["a/b+c=", "x" * 4096], ["", "a b", "a\nb", "é", "x" * 4097, 5]),
    ],
)
async def test_s3_fields_hold_what_s3_allows(api: Api, field: str, good: list[Any], bad: list[Any]) -> None:
    await only_these(api, "s3", S3, field, good, bad)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("storage_account", ["abc", "0" * 24], ["ab", "a" * 25, "A1b", "a-b", "a.b", "abc\n", "abc/", "a@b"]),
        (
            "container",
            ["abc", "a-b-c", "$web"],
            ["ab", "a" * 64, "A1b", "a--b", "-ab", "ab-", "a.b", "$x", "a/b"],
        ),
        ("tenant_id", ["studio.onmicrosoft.com"], ["", "a/b", "a?b", "a..b", "-a", "a\n", "x" * 254]),
        ("client_id", ["a"], ["", "a b", "a/../b"]),
        ("client_secret", ["a~b.c"], ["", "a\tb", None]),
    ],
)
async def test_azure_fields_hold_what_azure_allows(
    api: Api, field: str, good: list[Any], bad: list[Any]
) -> None:
    await only_these(api, "azure", AZURE, field, good, bad)


async def only_these(
    api: Api, provider: str, body: dict[str, Any], field: str, good: list[Any], bad: list[Any]
) -> None:
    for value in good:
        await api.post(f"/connectors/{provider}", {**body, field: value}, status=201)
    for value in bad:
        error = await api.error("POST", f"/connectors/{provider}", 422, json={**body, field: value})
        [found] = error["details"]["errors"]
        assert (value, found["where"]) == (value, f"body.{field}")


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (
            "bucket",
            ["abc", "a_b", "a.b.c", ".".join(["a" * 63] * 3)],
            ["ab", "A1b", "_ab", "ab_", "a..b", "a" * 64, "10.0.0.1", "a/b", ".".join(["a" * 63] * 4)],
        ),
        ("gcp_project_id", ["studio", "example.org:studio"], ["A", "a/b", "a b", "-a", "x" * 101]),
    ],
)
async def test_gcs_fields_hold_what_google_allows(
    api: Api, field: str, good: list[str], bad: list[str]
) -> None:
    for value in good:
        await made_gcs(api, {field: value})
    for value in bad:
        error = (await made_gcs(api, {field: value}, status=422))["error"]
        assert [each["where"] for each in error["details"]["errors"]] == [f"body.{field}"], value


@pytest.mark.parametrize("provider", ["s3", "azure", "gcs"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x" * 101),
        ("scopes", "write"),
        ("import_mode", "some"),
        ("export_base_path", "../up"),
        ("endpoint_url", "http://169.254.169.254"),
        ("credentials", "ambient"),
        ("proxy", "http://10.0.0.1"),
        ("ca_file", "/etc/passwd"),
        ("declared", "true"),
    ],
)
async def test_what_only_the_configuration_may_say_is_refused(
    api: Api, provider: str, field: str, value: str
) -> None:
    if provider == "gcs":
        error = (await made_gcs(api, {field: value}, status=422))["error"]
    else:
        body = {**{"s3": S3, "azure": AZURE}[provider], field: [value] if field == "scopes" else value}
        error = await api.error("POST", f"/connectors/{provider}", 422, json=body)
    [found] = error["details"]["errors"]
    assert found["where"].startswith(f"body.{field}")
    assert await api.get("/connectors") == []


async def test_what_is_missing_is_named(api: Api) -> None:
    for provider, body in (("s3", S3), ("azure", AZURE)):
        for field in body:
            short = {name: value for name, value in body.items() if name != field}
            error = await api.error("POST", f"/connectors/{provider}", 422, json=short)
            assert [each["where"] for each in error["details"]["errors"]] == [f"body.{field}"]
    for field in GCS:
        error = (await made_gcs(api, {field: None}, status=422))["error"]
        assert [each["where"] for each in error["details"]["errors"]] == [f"body.{field}"]
    error = await api.error("POST", "/connectors/gcs", 422, data=GCS)
    assert [each["where"] for each in error["details"]["errors"]] == ["body.credentials_file"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b" " * 65_537, "too large"),
        (b"\xff\xfe", "not UTF-8"),
        (b"{", "not a JSON object"),
        (b'{"type": "authorized_user"}', "service_account"),
        (service_account(client_email=None).encode(), "client_email"),
        (service_account(token_uri="http://10.0.0.1/token").encode(), "token_uri"),
        (service_account(private_key=PLANTED).encode(), "private_key"),
    ],
    ids=["large", "binary", "broken", "user", "incomplete", "elsewhere", "keyless"],
)
async def test_a_file_that_no_service_account_has_is_refused(api: Api, content: bytes, what: str) -> None:
    error = (await made_gcs(api, status=422, content=content))["error"]
    [found] = error["details"]["errors"]
    assert (found["where"], what in found["what"]) == ("body.credentials_file", True)
    assert PLANTED not in str(error)


async def test_an_empty_file_and_a_field_in_its_place_are_refused(api: Api) -> None:
    for data, files in ((GCS, file(b"")), ({**GCS, "credentials_file": service_account()}, None)):
        error = await api.error("POST", "/connectors/gcs", 422, data=data, files=files)
        assert [each["where"] for each in error["details"]["errors"]] == ["body.credentials_file"]


async def test_a_form_that_cannot_be_read_is_said_to_be_one(api: Api) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    error = await api.error("POST", "/connectors/gcs", 422, content=b"--x", headers=headers)
    assert error["message"] == "the form cannot be read: Missing boundary in multipart."


async def test_of_a_file_only_what_signing_in_needs_is_kept(api: Api) -> None:
    connector = (await made_gcs(api))["connector_id"]
    assert set(await kept(api, connector)) == {
        "type",
        "project_id",
        "private_key_id",
        "private_key",
        "client_email",
        "token_uri",
    }


async def test_another_token_endpoint_is_taken_where_another_store_is_asked(context: ApiContext) -> None:
    """At that store's host alone: a key of the API buys no request into the daemon's network."""
    settings = replace(context.settings, store_hosts={"gcs": "127.0.0.1"})
    elsewhere = replace(context, settings=settings)
    async with client_of(elsewhere) as client:
        api = await Api.prepared(client, elsewhere)
        await made_gcs(api, content=service_account(token_uri="http://127.0.0.1:1/token"))
        for uri in ("http://169.254.169.254/token", "http://127.0.0.1@169.254.169.254/token", "http://[/"):
            content = file(service_account(token_uri=uri).encode())
            error = await api.error("POST", "/connectors/gcs", 422, data=GCS, files=content)
            assert [each["where"] for each in error["details"]["errors"]] == ["body.credentials_file"]


async def test_new_credentials_take_the_place_of_the_old_and_are_tested(
    api: Api, storage: FakeStorage, clock: FakeClock
) -> None:
    s3, azure, gcs = [(await made(api, provider))["connector_id"] for provider in ("s3", "azure", "gcs")]
    storage.broken = CredentialsRefused("the store does not know this key")
    key = {"aws_access_key_id": "AKIANEW", "aws_secret_access_key": "new"}
    changed = await api.ask("PATCH", f"/connectors/{s3}", json=key)
    assert (changed["status"], changed["last_test_error"]) == ("failed", "the store does not know this key")
    assert await kept(api, s3) == {"access_key_id": "AKIANEW", "secret_access_key": "new"}
    storage.broken = None
    changed = await api.ask("PATCH", f"/connectors/{azure}", json={"client_secret": "rotated"})
    assert changed["status"] == "active"
    assert await kept(api, azure) == {
        "tenant_id": AZURE["tenant_id"],
        "client_id": AZURE["client_id"],
        "client_secret": "rotated",
    }
    account = service_account(private_key_id="rotated")
    await api.ask("PATCH", f"/connectors/{gcs}", json={"credentials_json": account})
    assert (await kept(api, gcs))["private_key_id"] == "rotated"


async def test_credentials_of_another_provider_are_refused(api: Api) -> None:
    for provider, field in (
        ("s3", "client_secret"),
        ("azure", "credentials_json"),
        ("gcs", "aws_secret_access_key"),
    ):
        connector = (await made(api, provider))["connector_id"]
        error = await api.error("PATCH", f"/connectors/{connector}", 422, json={field: PLANTED})
        [found] = error["details"]["errors"]
        assert found["where"] == f"body.{field}"
        assert found["what"].startswith("belongs to connectors of ")
        assert PLANTED not in str(error)


async def test_unusable_new_credentials_change_nothing(api: Api) -> None:
    connector = (await made(api, "gcs"))["connector_id"]
    before = await row_of(api.context.database, connector)
    for text in ("{}", "", PLANTED, " " * 65_537):
        error = await api.error("PATCH", f"/connectors/{connector}", 422, json={"credentials_json": text})
        assert [each["where"] for each in error["details"]["errors"]] == ["body.credentials_json"]
        assert PLANTED not in str(error)
    assert await row_of(api.context.database, connector) == before


async def released(api: Api, **settings: Any) -> str:
    """A connector that the configuration file once declared, with the identity of the machine."""
    spec = ConnectorSpec("lake", "s3", {"bucket": "lake", "region": "eu-1", **settings})
    row = await api.context.database.write(catalog.declare_connector, "conn_lake", spec)
    await api.context.database.write(lambda tx: tx.update(connectors, row.id, declared=False))
    return str(row.id)


async def test_the_identity_of_the_machine_is_not_extended_over_the_api(api: Api) -> None:
    connector = await released(api, ambient=True)
    for change in ({"scopes": ["import", "export"]}, {"export_base_path": "out"}):
        error = await api.error("PATCH", f"/connectors/{connector}", 409, json=change)
        assert "machine's identity" in error["message"]
    await api.ask("PATCH", f"/connectors/{connector}", json={"name": "pond"})
    key = {name: S3[name] for name in ("aws_access_key_id", "aws_secret_access_key")}
    await api.ask("PATCH", f"/connectors/{connector}", json={**key, "scopes": ["import", "export"]})
    assert "ambient" not in (await row_of(api.context.database, connector)).settings


async def test_half_a_key_is_not_enough_where_there_was_none(api: Api) -> None:
    connector = await released(api)
    body = {"aws_secret_access_key": PLANTED}
    error = await api.error("PATCH", f"/connectors/{connector}", 422, json=body)
    assert [each["where"] for each in error["details"]["errors"]] == ["body.aws_access_key_id"]


async def test_credentials_come_back_nowhere(api: Api, storage: FakeStorage) -> None:
    answers: list[Any] = []
    for provider in ("s3", "azure", "gcs"):
        answers.append(await made(api, provider))
        path = f"/connectors/{answers[-1]['connector_id']}"
        storage.broken = StorageUnavailable("away")
        answers += [await api.post(f"{path}/test"), await api.ask("PATCH", path, json={"scopes": ["export"]})]
        storage.broken = None
        answers += [await api.get(path), await api.ask("DELETE", path)]
    for body in (
        {**S3, "bucket": PLANTED + "!"},
        {**S3, "name": [PLANTED]},
        {**S3, "aws_access_key_id": f"{PLANTED} /"},
        {**S3, "aws_secret_access_key": f"{PLANTED}\n"},
        {**S3, PLANTED.upper(): 1, "import_mode": PLANTED, "export_base_path": f"/{PLANTED}"},
    ):
        answers.append(await api.error("POST", "/connectors/s3", 422, json=body))
    answers.append(
        await api.error("POST", "/connectors/azure", 422, json={**AZURE, "client_secret": f"{PLANTED} "})
    )
    answers.append((await api.client.get("/openapi.json")).json())
    assert PLANTED not in json.dumps(answers)


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_credentials_stand_in_no_file_of_the_database(api: Api, database: SqliteDatabase) -> None:
    for provider in ("s3", "azure", "gcs"):
        connector = (await made(api, provider))["connector_id"]
        row = await row_of(database, connector)
        assert PLANTED not in repr(row)
    files = [
        path for path in Path(database.path).parent.iterdir() if path.name.startswith(database.path.name)
    ]
    content = b"".join(path.read_bytes() for path in files)
    assert b"studio-rushes" in content
    assert PLANTED.encode() not in content
    assert b"PRIVATE KEY" not in content


async def test_secrets_are_described_as_such(api: Api) -> None:
    schemas = (await api.client.get("/openapi.json")).json()["components"]["schemas"]
    for schema, fields in (
        ("S3ConnectorBody", ("aws_access_key_id", "aws_secret_access_key")),
        ("AzureConnectorBody", ("client_secret",)),
        ("GcsConnectorForm", ("credentials_file",)),
        ("ConnectorChanges", ("aws_secret_access_key", "client_secret", "credentials_json")),
    ):
        for field in fields:
            described = schemas[schema]["properties"][field]
            assert described["writeOnly"] is True
            assert described.keys().isdisjoint({"default", "example", "examples"})


@pytest.mark.parametrize(
    ("provider", "location", "uris"),
    [
        ("s3", {"bucket": "b1"}, ["s3://b1/a%20b.mp4"]),
        (
            "s3",
            {"bucket": "b1", "endpoint_url": "http://minio:9000"},
            ["http://minio:9000/b1/a%2520b.mp4", "s3://b1/a%20b.mp4"],
        ),
        ("gcs", {"bucket": "b1"}, ["gs://b1/a%20b.mp4"]),
        (
            "azure",
            {"storage_account": "acc", "container": "b1"},
            ["https://acc.blob.core.windows.net/b1/a%2520b.mp4"],
        ),
    ],
)
async def test_an_address_leads_to_its_connector_without_opening_the_others(
    api: Api, context: ApiContext, storage: FakeStorage, provider: str, location: Any, uris: list[str]
) -> None:
    spec = ConnectorSpec("c", provider, location)
    row = await context.database.write(catalog.create_connector, spec)
    other = ConnectorSpec("other", provider, {**location, "bucket": "b2", "container": "b2"})
    await context.database.write(catalog.create_connector, other)
    storage.put("a%20b.mp4", b"x")
    opened: list[str] = []

    def opening(connector: Connector) -> Storage:
        opened.append(connector.id)
        return storage

    watched = replace(context, storages=opening)
    async with client_of(watched) as client:
        there = await Api.prepared(client, watched)
        for uri in uris:
            [place] = (await there.get("/explain", uri=uri))["places"]
            assert (place["connector_id"], place["key"], place["standing"]["exists"]) == (
                row.id,
                "a%20b.mp4",
                True,
            )
        whole = uris[0].rpartition("/")[0]
        for uri in (whole, f"{whole}/"):
            assert (
                "is the location of connector"
                in (await there.error("GET", "/explain", 422, params={"uri": uri}))["message"]
            )
        elsewhere = uris[0].replace("b1", "b3")
        error = await there.error("GET", "/explain", 404, params={"uri": elsewhere})
        assert error["code"] == "resource_connector_not_found"
    assert set(opened) == {row.id}


@pytest.mark.parametrize("provider", ["s3", "gcs", "azure"])
async def test_a_create_that_is_repeated_with_its_key_makes_one_connector(api: Api, provider: str) -> None:
    content = {"data": GCS, "files": file(service_account(private_key_id=PLANTED))}
    bodies: dict[str, dict[str, Any]] = {"s3": {"json": S3}, "gcs": content, "azure": {"json": AZURE}}
    keyed = {"headers": {"Idempotency-Key": "k"}, **bodies[provider]}
    first = await api.ask("POST", f"/connectors/{provider}", status=201, **keyed)
    assert await api.ask("POST", f"/connectors/{provider}", status=201, **keyed) == first
    assert await api.get("/connectors") == [first]
    assert first["last_test_result"] == "success"
