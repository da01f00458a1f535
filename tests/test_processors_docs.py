"""docs/processors.md is true: its configuration loads, its commands run, and its answers come from file to export."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from tests import samples
from tests.daemon_process import ADMIN_KEY, Daemon, wait_until
from tests.model_server import ModelServer
from vvwatch.config import load
from vvwatch.telemetry import CATALOGUE, Telemetry
from vvwatch.workflow.pipeline.artifact_schema import json_schema

ROOT = Path(__file__).parents[1]
DOCS = (ROOT / "docs/processors.md").read_text()
OLLAMA = "http://127.0.0.1:11434/v1"
VLLM = "http://127.0.0.1:8000/v1"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)


FRAME, *MORE = blocks("toml")
PROCESSORS = [text for text in MORE if "[automations." not in text]  # the others are run with their programs
COMPLETE = [text for text in PROCESSORS if "[processing]" in text]
BY_TYPE = {
    name: [text for text in COMPLETE if f'type = "{name}"' in text] for name in ("openai", "videovector")
}
KEYS = re.findall(r'_file = "([\w.]+\.key)"', DOCS)


def schema() -> str:
    [text] = [text for text in blocks("sh") if "scene.schema.json <<" in text]
    return text.split("<<'END'\n")[1].split("\nEND\n")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the page leaves it: with the schema, and a key in each file that it names."""
    (tmp_path / "scene.schema.json").write_text(schema())
    for name in KEYS:
        (tmp_path / name).write_text(ADMIN_KEY + "\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def configuration(folder: Path, block: str) -> Path:
    text = FRAME.replace("/srv/media/results", str(folder / "media" / "outgoing"))
    text = text.replace("/srv/media", str(folder / "media")).replace('"1m"', '"1s"')
    for name in ("incoming", "outgoing"):
        (folder / "media" / name).mkdir(parents=True, exist_ok=True)
    path = folder / "vvwatch.toml"
    path.write_text(text + re.sub(r'"/etc/vvwatch/credentials/[\w-]+"', f'"{folder / KEYS[0]}"', block))
    return path


@pytest.mark.parametrize("block", PROCESSORS, ids=range(len(PROCESSORS)))
def test_the_configuration_of_each_is_good(folder: Path, block: str) -> None:
    config = load(configuration(folder, block), {"VVWATCH_STATE_DIR": str(folder / "state")})
    assert config.warnings == ()
    assert config.processors
    assert ("[processing]" in block) == (config.processing.default in config.processors)


def test_every_way_that_is_promised_is_there() -> None:
    assert {name: len(found) for name, found in BY_TYPE.items()} == {"openai": 3, "videovector": 1}
    assert len(KEYS) == 2


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def run(block: str, folder: Path, server: ModelServer) -> str:
    """Run commands as a newcomer does, who has Ollama and vLLM: here, the same model answers for both."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("ollama", "vllm"):
        (tools / name).write_text("#!/bin/sh\n")
        (tools / name).chmod(0o755)
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VVWATCH_")}
    at_ours = block.replace(f"--model-url {VLLM}", "").replace(
        "--model ", f"--model-url {server.url} --model "
    )
    ended = subprocess.run(
        ["bash", "-e", "-c", at_ours],
        cwd=folder,
        env={**kept, "PATH": path, "XDG_STATE_HOME": str(folder / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def media(folder: Path) -> None:
    (folder / "incoming").mkdir(parents=True)
    samples.video(folder / "incoming" / "clip.mp4", seconds=4)
    samples.image(folder / "incoming" / "photo.png")


def dev_blocks(word: str) -> list[str]:
    return [text for text in blocks("sh") if "vvwatch dev" in text and word in text]


@pytest.mark.timeout(300)
def test_a_newcomer_with_a_model_sees_its_answers(tmp_path: Path, server: ModelServer) -> None:
    media(tmp_path)
    said = [run(block, tmp_path, server) for block in dev_blocks("--model")]
    assert len(said) == 3
    assert "photo.png: description: a boat" in said[0]
    assert "place: a boat; people: 1" in said[1]
    assert server.pictures > 3
    assert {request["model"] for request in server.requests.values()} == {
        "qwen3-vl:4b-instruct",
        "Qwen/Qwen3-VL-8B-Instruct",
    }


@pytest.mark.timeout(200)
def test_a_newcomer_with_a_script_sees_its_answers(tmp_path: Path, server: ModelServer) -> None:
    media(tmp_path)
    [block] = dev_blocks("--program")
    said = run(block, tmp_path, server)
    assert re.search(r"photo\.png: sha256 [0-9a-f]{64}", said) or re.search(
        r"photo\.png: description: sha256 [0-9a-f]{64}", said
    )


def test_what_a_hosted_model_will_cost_is_planned(folder: Path, server: ModelServer) -> None:
    [block] = [text for text in BY_TYPE["openai"] if "prices" in text]
    configuration(folder, block)
    making, planning = [text for text in blocks("sh") if "vvwatch dev" not in text]
    run(making, folder, server)
    assert (folder / "gpt.key").stat().st_mode & 0o777 == 0o600
    (folder / "gpt.key").write_text("a-key-of-a-test\n")
    said = run(planning.replace("vvwatch run", "vvwatch check"), folder, server)
    assert "dailies" in said


class Documented(Daemon):
    """A daemon with the configuration of the page, whose media lie in `media`."""

    def write_config(self) -> None:
        configuration(self.base, self.extra)
        self.environ = {"VVWATCH_LISTEN": "127.0.0.1:0", "VVWATCH_STATE_DIR": str(self.state)}


def exported(daemon: Daemon) -> dict[str, object]:
    """The document that a run's export is."""
    wait_until(lambda: any(daemon.outgoing.glob("*.manifest.json")), "an export", 120)
    [path] = [path for path in daemon.outgoing.glob("*.json") if ".manifest" not in path.name]
    document = json.loads(path.read_bytes())
    assert isinstance(document, dict)
    jsonschema.validate(document, json_schema())
    return document


def answers(document: dict[str, object]) -> set[str]:
    found = document["media"]
    assert isinstance(found, list)
    return {segment["metadata"]["place"] for item in found for segment in item["segments"]}


@pytest.mark.timeout(300)
def test_a_hosted_model_is_paid_by_its_price(folder: Path, server: ModelServer) -> None:
    [block] = [text for text in BY_TYPE["openai"] if "prices" in text]
    media(folder / "media")
    at_ours = re.sub(r'base_url = "[^"]+"', f'base_url = "{server.url}"', block)
    with Documented(folder, extra=at_ours, shared=folder / "media") as daemon:
        assert answers(exported(daemon)) == {"a boat"}
        [run] = daemon.get("/prompt-runs")
        calls = daemon.get(f"/prompt-runs/{run['run_id']}/llm-calls")
        routes = {
            re.sub(r"{\w+}", "ID", path): methods.keys()
            for path, methods in daemon.get("/openapi.json")["paths"].items()
        }
    assert len(calls) == len(server.charged)
    assert {round(call["cost_usd"], 9) for call in calls} == {0.000021}  # 100 tokens in, 10 out
    assert run["not_done"] == {}
    named = re.findall(r"`(GET|POST) (/api/v2/[^` ]+)`", DOCS)
    assert [f"{method} {path}" for method, path in named if method.lower() not in routes.get(path, ())] == []


@pytest.mark.timeout(300)
def test_another_vvwatch_does_the_work(folder: Path, server: ModelServer) -> None:
    model = BY_TYPE["openai"][0].replace(OLLAMA, server.url)
    upstream = Daemon(folder / "upstream", automation="enabled = false", extra=model)
    media(folder / "media")
    with upstream:
        [block] = BY_TYPE["videovector"]
        at_ours = re.sub(r'base_url = "[^"]+"', f'base_url = "{upstream.url}/api/v2"', block)
        with Documented(folder, extra=at_ours, shared=folder / "media") as daemon:
            assert answers(exported(daemon)) == {"a boat"}
    assert server.pictures > 1


def test_every_event_that_is_named_is_in_the_catalogue() -> None:
    named = set(re.findall(r"`((?:run|processor|budget)\.\w+)`", DOCS))
    assert named
    assert named <= CATALOGUE.keys()


def test_every_metric_that_is_named_is_one() -> None:
    named = set(re.findall(r"`(vvwatch_processor_\w+)`", DOCS))
    assert named == set(
        re.findall(r"(?m)^# TYPE (vvwatch_processor_\w+)", Telemetry("0").exposition().decode())
    )
