"""Connectors of the three clouds, each tried against a store that speaks as the real one does."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import videovector

from tests.emulators.azurite import make_container
from tests.emulators.fake_gcs import make_bucket
from tests.providers.gcs.gcs_places import service_account
from tests.sdk.twins import Twin, problems
from tests.sdk.world import BUCKET, World


def s3(sdk: Twin, world: World, **changes: Any) -> Any:
    given = {
        "name": world.name("s3"),
        "bucket": BUCKET,
        "region": "us-east-1",
        "aws_access_key_id": world.s3.access_key_id,
        "aws_secret_access_key": world.s3.secret_access_key,
    }
    return sdk.connectors.create_s3(**{**given, **changes})


def gcs(sdk: Twin, world: World, **changes: Any) -> Any:
    given = {
        "name": world.name("gcs"),
        "bucket": make_bucket(world.gcs, world.name("bucket").replace(" ", "-")),
        "gcp_project_id": "studio",
        "credentials_file": io.BytesIO(service_account().encode()),
    }
    return sdk.connectors.create_gcs(**{**given, **changes})


def azure(sdk: Twin, world: World, **changes: Any) -> Any:
    given = {
        "name": world.name("azure"),
        "storage_account": world.azure.account,
        "container": make_container(world.azure).name,
        "tenant_id": world.azure.tenant_id,
        "client_id": world.azure.client_id,
        "client_secret": world.azure.client_secret,
    }
    return sdk.connectors.create_azure(**{**given, **changes})


@pytest.mark.parametrize("create", [s3, gcs, azure])
def test_a_connector_is_made_tested_found_and_deleted(
    sdk: Twin, world: World, create: Callable[..., Any]
) -> None:
    made = create(sdk, world, scopes=["import", "export"], export_base_path="exports", import_mode="new_only")
    assert (made.provider, made.status, made.last_test_error) == (create.__name__, "active", None)
    assert (made.scopes, made.import_mode, made.export_base_path) == (
        ["import", "export"],
        "new_only",
        "exports",
    )
    own = {"s3": {"bucket", "region"}, "gcs": {"bucket", "gcp_project_id"}}
    places = {"bucket", "region", "storage_account", "container", "gcp_project_id"}
    given = {name for name in places if getattr(made, name) is not None}
    assert given == own.get(create.__name__, {"storage_account", "container"})
    assert sdk.connectors.retrieve(made.connector_id) == made
    assert made in sdk.connectors.list()
    assert sdk.connectors.test(made.connector_id).success
    assert made.connector_id in sdk.connectors.delete(made.connector_id).message
    with pytest.raises(videovector.NotFoundError):
        sdk.connectors.retrieve(made.connector_id)


@pytest.mark.parametrize("create", [s3, gcs, azure])
def test_the_same_key_makes_one_connector(sdk: Twin, world: World, create: Callable[..., Any]) -> None:
    key = world.name("key")
    first = create(sdk, world, name="twice", idempotency_key=key, **_place(world, create))
    again = create(sdk, world, name="twice", idempotency_key=key, **_place(world, create))
    assert first == again
    with pytest.raises(videovector.ConflictError):
        create(sdk, world, name="another", idempotency_key=key, **_place(world, create))


def _place(world: World, create: Callable[..., Any]) -> dict[str, str]:
    return {"s3": {}, "gcs": {"bucket": "twice"}}.get(create.__name__, {"container": "twice"})


def test_a_place_that_is_not_there_is_said(sdk: Twin, world: World) -> None:
    made = s3(sdk, world, bucket="there-is-none")
    assert (made.status, made.last_test_result) == ("failed", "failed")
    tested = sdk.connectors.test(made.connector_id)
    assert not tested.success
    assert "there-is-none" in tested.error_message


def test_a_store_is_browsed(sdk: Twin, world: World) -> None:
    files = sdk.connectors.browse(world.connector_id, prefix="shoot/")
    assert {file.path: file.size_bytes for file in files} == {
        f"shoot/{name}": len(data) for name, data in world.media.items()
    }
    clip = next(file for file in files if file.name == "clip.mp4")
    assert clip.extension == ".mp4"
    assert clip.last_modified.endswith("Z")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"pattern": "*.wav"}, {"sound.wav"}),
        ({"pattern": "*.{wav,png}"}, {"sound.wav", "picture.png"}),
        ({"pattern": "*.wav", "recursive": False}, set()),
        ({"prefix": "shoot/deep/sound.wav"}, {"sound.wav"}),
        ({"prefix": "nowhere/"}, set()),
    ],
)
def test_what_matches_is_listed(sdk: Twin, world: World, options: dict[str, Any], found: set[str]) -> None:
    files = sdk.connectors.browse(world.connector_id, **{"prefix": "shoot/", **options})
    assert {file.name for file in files} == found


def test_what_is_wrong_with_a_request_is_said(sdk: Twin, world: World) -> None:
    with pytest.raises(videovector.ValidationError) as caught:
        s3(sdk, world, bucket="Not A Bucket")
    assert caught.value.status_code == 422
    assert problems(caught) == {"body.bucket"}
    with pytest.raises(videovector.ValidationError):
        gcs(sdk, world, credentials_file=io.BytesIO(b"{}"))
