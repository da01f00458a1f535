"""Exports: downloaded whole, or delivered to a bucket; and links that open one of them for a while."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import videovector

from tests.sdk.twins import Twin
from tests.sdk.world import World
from vvwatch.workflow.pipeline.artifact_schema import json_schema

SOON = {"poll_interval": 0.05, "timeout": 30}


def ended(sdk: Twin, made: Any) -> Any:
    assert made.status in {"pending", "processing"}
    return sdk.exports.wait_for_completion(made.export_id, **SOON)


def titles(artefact: Any) -> set[str]:
    """Which media an artefact tells of; it must be one."""
    jsonschema.validate(artefact, json_schema())
    return {item["video"]["title"] for item in artefact["media"]}


def test_a_run_is_exported_and_downloaded(sdk: Twin, world: World, tmp_path: Path) -> None:
    export = ended(sdk, sdk.exports.create_prompt_run_export(world.run_id))
    assert (export.status, export.queue_status) == ("completed", "succeeded")
    assert (export.export_type, export.target_id) == ("prompt_run", world.run_id)
    assert (export.destination_type, export.destination_connector_id) == ("download", None)
    assert export.download_url == f"/api/v2/exports/{export.export_id}/download"
    assert sdk.exports.retrieve(export.export_id) == export
    assert export in sdk.exports.list(limit=100)
    sdk.exports.download(export.export_id, tmp_path / "run.json")
    content = (tmp_path / "run.json").read_bytes()
    assert len(content) == export.file_size_bytes
    assert titles(json.loads(content)) == set(world.video_ids)
    assert b"".join(sdk.exports.iter_download(export.export_id, chunk_size=100)) == content
    stream = io.BytesIO()
    sdk.exports.download(export.export_id, stream)
    assert stream.getvalue() == content


def test_an_index_is_exported_with_all_or_some_of_its_runs(sdk: Twin, world: World) -> None:
    target = {"type": "videos", "video_ids": [world.video_ids["picture.png"]]}
    run = world.processed(**target)
    every = ended(sdk, sdk.exports.create_index_export(world.index_id))
    assert (every.export_type, every.target_id) == ("index", world.index_id)
    artefact = json.loads(b"".join(sdk.exports.iter_download(every.export_id)))
    assert titles(artefact) == set(world.video_ids)
    assert {world.run_id, run["run_id"]} <= {told["run_id"] for told in artefact["runs"]}
    some = ended(sdk, sdk.exports.create_index_export(world.index_id, prompt_run_ids=[run["run_id"]]))
    assert some.export_params["prompt_run_ids"] == [run["run_id"]]
    artefact = json.loads(b"".join(sdk.exports.iter_download(some.export_id)))
    assert titles(artefact) == {"picture.png"}


def test_an_export_is_delivered_to_a_bucket(sdk: Twin, world: World) -> None:
    connector = world.connector("export", export_base_path="delivered")
    subpath = world.prefix().rstrip("/")
    made = sdk.exports.create_prompt_run_export(
        world.run_id, destination_connector_id=connector, destination_subpath=subpath
    )
    export = ended(sdk, made)
    assert (export.destination_type, export.destination_connector_id) == ("connector", connector)
    assert (export.destination_base_path, export.destination_subpath) == ("delivered", subpath)
    assert export.destination_uri == export.gcs_uri
    assert export.gcs_uri.startswith(world.uri(f"delivered/{subpath}/"))
    assert export.download_url is None
    content = world.content(export.gcs_uri.removeprefix(world.uri("")))
    assert titles(json.loads(content)) == set(world.video_ids)
    assert sdk.exports.download_url(export.export_id) is None
    with pytest.raises(videovector.VideoVectorError) as caught:
        sdk.exports.iter_download(export.export_id)
    assert caught.value.status_code in {404, 409}


def test_the_same_key_makes_one_export(sdk: Twin, world: World) -> None:
    key = world.name("key")
    first, again = [sdk.exports.create_prompt_run_export(world.run_id, idempotency_key=key) for _ in range(2)]
    assert first == again


def test_no_link_is_given_away_over_http(sdk: Twin, world: World) -> None:
    export = ended(sdk, sdk.exports.create_prompt_run_export(world.run_id))
    assert sdk.exports.download_url(export.export_id) is None


def test_what_an_export_needs_must_be_there(sdk: Twin, world: World) -> None:
    for call in (sdk.exports.create_index_export, sdk.exports.create_prompt_run_export, sdk.exports.retrieve):
        with pytest.raises(videovector.NotFoundError):
            call("none")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"destination_connector_id": "conn_none"}, videovector.NotFoundError),
        ({"destination_connector_id": "conn_in"}, videovector.ValidationError),
        (
            {"destination_connector_id": "conn_out", "destination_subpath": "../up"},
            videovector.ValidationError,
        ),
    ],
)
def test_a_destination_must_be_one(
    sdk: Twin, world: World, options: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        sdk.exports.create_prompt_run_export(world.run_id, **options)


def test_only_runs_of_the_index_are_exported_with_it(sdk: Twin, world: World) -> None:
    with pytest.raises(videovector.ValidationError):
        sdk.exports.create_index_export(world.index(), prompt_run_ids=[world.run_id])
