"""The API's own example runs from file to export with each processor, from folders and buckets, on both engines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.crash import buckets
from tests.daemon_process import ADMIN_KEY, Daemon
from tests.e2e import episodes
from tests.e2e.conftest import Make
from tests.model_server import ModelServer
from vvwatch.workflow.pipeline.artifact_schema import json_schema

SCALE = "\n[debounce]\nscale = 0.005\n"
Processing = Callable[[Path], str]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["command", "openai", "videovector"])
def processing(request: pytest.FixtureRequest, tmp_path: Path, stack: ExitStack) -> str:
    """The configuration of a processor that answers to every model of the hosted service, and what it needs runs."""
    made: str = {"command": with_command, "openai": with_openai, "videovector": with_videovector}[
        request.param
    ](tmp_path, stack)
    return made


def with_command(folder: Path, stack: ExitStack) -> str:
    return '\n[processing]\ndefault = "script"\n' + episodes.program(folder)[0]


def with_openai(folder: Path, stack: ExitStack) -> str:
    server = stack.enter_context(ModelServer())
    return openai(server)


def openai(server: ModelServer) -> str:
    return f"""
[processing]
default = "vision"
[processors.vision]
type = "openai"
base_url = "{server.url}"
model = "stub-vision"
models = ["gemini-*"]
send_audio = true
[processors.vision.prices."stub-*"]
input_usd_per_million = 1000
"""


def with_videovector(folder: Path, stack: ExitStack) -> str:
    upstream = stack.enter_context(upstream_of(folder))
    return delegating(folder, upstream)


def upstream_of(folder: Path) -> Daemon:
    """Another vvwatch, whose own processor is a command."""
    (folder / "upstream").mkdir()
    table = episodes.program(folder / "upstream")[0]
    text = '\n[processing]\ndefault = "script"\n' + table
    return Daemon(folder / "upstream", automation="enabled = false", extra=text)


def delegating(folder: Path, upstream: Daemon) -> str:
    key = folder / "upstream.key"
    key.write_text(ADMIN_KEY + "\n")
    key.chmod(0o600)
    return f"""
[processing]
default = "hosted"
[processors.hosted]
type = "videovector"
base_url = "{upstream.url}/api/v2"
api_key_file = "{key}"
index_id = "idx_main"
models = ["gemini-*"]
"""


def exported_from(daemon: Daemon, found: dict[str, bytes]) -> dict[str, Any]:
    """The document of the daemon's only export; another test's may stand beside it."""
    [(export,)] = daemon.rows("select id from exports")
    [data] = [data for key, data in found.items() if key.endswith(f"{export}.json")]
    document: dict[str, Any] = json.loads(data)
    return document


@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", ["folder", "s3"])
def test_the_example_of_the_api_runs_from_file_to_export(
    make: Make, tmp_path: Path, processing: str, place: str, request: pytest.FixtureRequest
) -> None:
    extra = processing + episodes.PROMPT + SCALE
    prefix = f"{tmp_path.name}/" if place == "s3" else ""  # other tests leave objects in the same bucket
    (tmp_path / "made").mkdir()
    files = episodes.media(tmp_path / "made")
    if place == "s3":
        bucket = buckets.s3(request)
        daemon = make(
            connectors=bucket.connectors, environ=bucket.environ, automation="enabled = false", extra=extra
        )
        for key, data in files.items():
            bucket.put(f"{prefix}{key}", data)
    else:
        daemon = make(automation="enabled = false", extra=extra)
        for key, data in files.items():
            (daemon.incoming / key).parent.mkdir(exist_ok=True)
            (daemon.incoming / key).write_bytes(data)
    with daemon:
        episodes.watch_over_the_api(daemon, prefix)
        episodes.await_export(daemon)
        found = (
            bucket.exported()
            if place == "s3"
            else {path.name: path.read_bytes() for path in (daemon.outgoing / "results").iterdir()}
        )
        check(daemon, exported_from(daemon, found), prefix)


def check(daemon: Daemon, document: dict[str, Any], prefix: str) -> None:
    """Every segment has an answer that its schema allows, and every film its summary."""
    expected = {f"{prefix}{key}": count for key, count in episodes.SEGMENTS.items()}
    jsonschema.validate(document, json_schema())
    assert daemon.rows("select status from prompt_runs") == [("completed",)]
    assert {key: len(found) for key, found in episodes.segments_of(daemon).items()} == expected
    assert {error for found in episodes.segments_of(daemon).values() for error in found} == {None}
    exported = {item["video"]["key"]: item for item in document["media"]}
    assert exported.keys() == expected.keys()
    for key, item in exported.items():
        assert len(item["segments"]) == expected[key]
        assert {segment["metadata"]["title"] for segment in item["segments"]} == {"a boat"}
    assert exported[f"{prefix}day/clip.mp4"]["video_result"]["metadata"] == {"summary": "a boat"}
