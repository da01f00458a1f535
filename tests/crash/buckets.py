"""Buckets and containers that a daemon watches and exports to, and what others do with them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import botocore.session
import pytest
from botocore.config import Config

from tests.emulators.azurite import Azurite, make_container
from tests.emulators.fake_gcs import FakeGcs, make_bucket
from tests.emulators.s3_server import S3Server

PLANTED = "planted-secret-access-key-0123456789"  # the server takes any


@dataclass(frozen=True)
class Bucket:
    """Where objects come to and exports go to: `connectors` declares it, `environ` has the secrets it names.

    `put` makes an object; `exported` tells what stands below `results/` at the destination, by key.
    """

    connectors: str
    put: Callable[[str, bytes], object]
    exported: Callable[[], dict[str, bytes]]
    environ: dict[str, str] = field(default_factory=dict, repr=False)


def s3(request: pytest.FixtureRequest) -> Bucket:
    """Exports go to another prefix of the watched bucket."""
    server: S3Server = request.getfixturevalue("ministack")
    client: Any = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=server.endpoint_url,
        region_name=server.region,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
        config=Config(s3={"addressing_style": "path"}),
    )
    request.addfinalizer(client.close)
    bucket = _new_name()
    client.create_bucket(Bucket=bucket)
    table = f"""
type = "s3"
bucket = "{bucket}"
endpoint_url = "{server.endpoint_url}"
access_key_id = "{server.access_key_id}"
secret_access_key_env = "THE_SECRET"
"""

    def exported() -> dict[str, bytes]:
        found = client.list_objects_v2(Bucket=bucket, Prefix="results/").get("Contents", [])
        return {
            each["Key"]: client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in found
        }

    return Bucket(
        _both(table, table),
        lambda key, data: client.put_object(Bucket=bucket, Key=key, Body=data),
        exported,
        {"THE_SECRET": PLANTED},
    )


def gcs(request: pytest.FixtureRequest) -> Bucket:
    """Exports go to another prefix of the watched bucket."""
    server: FakeGcs = request.getfixturevalue("fake_gcs")
    bucket = make_bucket(server, _new_name())
    table = f"""
type = "gcs"
bucket = "{bucket}"
endpoint_url = "{server.endpoint_url}"
"""

    def exported() -> dict[str, bytes]:
        listed = server.client.get(f"/storage/v1/b/{bucket}/o", params={"prefix": "results/"}).json()
        names = [item["name"] for item in listed.get("items", [])]
        media = {name: f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}" for name in names}
        return {name: server.client.get(at, params={"alt": "media"}).content for name, at in media.items()}

    return Bucket(_both(table, table), lambda key, data: server.put(bucket, key, data), exported)


def azure(request: pytest.FixtureRequest) -> Bucket:
    """Exports go to another container of the account."""
    server: Azurite = request.getfixturevalue("azurite")
    watched, results = make_container(server), make_container(server)

    def table(container: str) -> str:
        return f"""
type = "azure"
storage_account = "{server.account}"
container = "{container}"
endpoint_url = "{server.endpoint_url}"
account_key_env = "THE_SECRET"
"""

    def exported() -> dict[str, bytes]:
        return {key: results.client.download_blob(key).readall() for key in results.keys()}  # noqa: SIM118

    return Bucket(
        _both(table(watched.name), table(results.name)),
        watched.put,
        exported,
        {"THE_SECRET": server.account_key},
    )


def _new_name() -> str:
    """Tests share their servers."""
    return f"watched-{secrets.token_hex(8)}"


def _both(watched: str, results: str) -> str:
    return f'[connectors.in]{watched}\n[connectors.out]{results}scopes = ["export"]\n'
