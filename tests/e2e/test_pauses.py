"""A processor that cannot run pauses as a whole, says so everywhere, and goes on when it is mended."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from tests import samples
from tests.chat_endpoint import Answer, Asked, ChatEndpoint, refused
from tests.daemon_process import Daemon, wait_until
from tests.e2e.conftest import Make

PROGRAM = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
with open(folder / "asked.txt", "a") as asked:
    asked.write("asked\\n")
if not (folder / "key.txt").exists():
    sys.stderr.write("no key in key.txt")
    sys.exit(78)
print(json.dumps({"metadata": {"mood": "calm"}}))
"""
CONFIG = """
[processors.words]
type = "command"
command = ["{python}", "-I", "-S", "{folder}/program.py", "{folder}"]
level = "item"
[prompts.mood]
prompt_text = "What is the mood?"
[prompts.mood.json_schema]
type = "object"
properties = {{ mood = {{ type = "string" }} }}
[automations.main.prompt]
prompt_id = "mood"
processing_model = "words"
"""


def prepared(make: Make, folder: Path, extra: str = "") -> Daemon:
    """With `extra`, the daemon of before with another configuration: its files are there."""
    (folder / "program.py").write_text(PROGRAM)
    config = CONFIG.format(python=sys.executable, folder=folder)
    daemon = make(debounce="2s", settle="0.5s", extra=config + extra)
    for number in range(0 if extra else 6):
        samples.image(daemon.incoming / f"{number}.png")
    return daemon


def processor(daemon: Daemon) -> Any:
    [found] = [each for each in daemon.get("/processors") if each["name"] == "words"]
    return found


def asked(folder: Path) -> int:
    return len((folder / "asked.txt").read_text().splitlines())


def is_completed(daemon: Daemon) -> bool:
    return [run["status"] for run in daemon.get("/prompt-runs")] == ["completed"]


@pytest.mark.timeout(240)
def test_a_program_without_its_key_pauses_and_a_person_resumes_it(make: Make, tmp_path: Path) -> None:
    with prepared(make, tmp_path) as daemon:
        wait_until(lambda: processor(daemon)["state"] == "paused", "the processor is paused", 90)
        found = processor(daemon)
        assert "no key in key.txt" in found["reason"]
        assert "vvwatch processors resume words" in found["fix"]
        wait_until(lambda: daemon.get("/status")["attention"], "it needs somebody", 30)
        [told] = daemon.get("/status")["attention"]
        assert (told["kind"], told["attention_id"]) == ("processor", "words")
        assert len(daemon.events("processor.paused")) == 1
        assert asked(tmp_path) <= 4, "those that were under way; after that nobody is asked"
        (tmp_path / "key.txt").write_text("sk-right")
        status, resumed = daemon.call("POST", "/processors/words/resume")
        assert (status, resumed["state"]) == (200, "active")
        wait_until(lambda: is_completed(daemon), "all that waited is done", 60)
        assert daemon.get("/status")["attention"] == []


@pytest.mark.timeout(240)
def test_a_restart_with_another_configuration_ends_a_pause_and_one_with_the_same_does_not(
    make: Make, tmp_path: Path
) -> None:
    with prepared(make, tmp_path) as daemon:
        wait_until(lambda: processor(daemon)["state"] == "paused", "the processor is paused", 90)
        assert daemon.stop() == 0
    with daemon:
        assert processor(daemon)["state"] == "paused"
        assert daemon.stop() == 0
    (tmp_path / "key.txt").write_text("sk-right")
    again = prepared(make, tmp_path, "[processors.words.budget]\nper_day_calls = 100\n")
    with again:
        wait_until(lambda: is_completed(again), "all that waited is done", 90)
        assert processor(again)["today"]["calls"] >= 6
        assert again.stop() == 0


SPEECH = """
[transcription.endpoint]
base_url = "{url}"
model = "whisper-1"
"""


@pytest.mark.timeout(240)
def test_a_refused_key_pauses_transcription_until_a_person_resumes_it(make: Make, tmp_path: Path) -> None:
    keys = {"is_right": False}

    def answer(_: Asked) -> Answer:
        return Answer({"text": "one", "language": "en"}) if keys["is_right"] else refused(401, "bad key")

    endpoint = ChatEndpoint(answer)
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(endpoint.running()),
        make(debounce="2s", settle="0.5s", extra=SPEECH.format(url=endpoint.url)) as daemon,
    ):
        samples.audio(daemon.incoming / "clip.m4a", 2)
        wait_until(lambda: daemon.get("/status")["attention"], "it needs somebody", 90)
        [told] = daemon.get("/status")["attention"]
        assert (told["kind"], told["attention_id"]) == ("processor", "transcription.endpoint")
        assert "vvwatch processors resume transcription.endpoint" in told["fix"]
        assert len(endpoint.asked) == 1
        found = [each for each in daemon.get("/doctor")["findings"] if each["about"] == "processor"]
        assert {(each["id"], each["subject"], each["state"]) for each in found} == {
            ("transcription.endpoint", "answers", "problem"),
            ("transcription.endpoint", "paused", "problem"),
        }
        keys["is_right"] = True
        status, resumed = daemon.call("POST", "/processors/transcription.endpoint/resume")
        assert (status, resumed["state"]) == (200, "active")
        wait_until(lambda: is_completed(daemon), "what waited is done", 60)
        assert daemon.get("/status")["attention"] == []
