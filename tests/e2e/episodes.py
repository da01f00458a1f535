"""The preset of the API's own example, run by each processor that is not built in."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

from tests import samples
from tests.daemon_process import Daemon, wait_until

PROMPT = """
[prompts.episode_extract]
name = "Episode extract"
prompt_text = "Say what is to be seen and heard in this part of an episode."
[prompts.episode_extract.json_schema]
type = "object"
required = ["title", "people"]
[prompts.episode_extract.json_schema.properties.title]
type = "string"
[prompts.episode_extract.json_schema.properties.people]
type = "array"
items = { type = "string" }
[prompts.episode_extract.video_level]
instructions_text = "Sum up the episode in one sentence."
[prompts.episode_extract.video_level.json_schema]
type = "object"
required = ["summary"]
[prompts.episode_extract.video_level.json_schema.properties.summary]
type = "string"
"""
PRESET = {
    "prompt_id": "prompt_episode_extract",
    "video_segmentation_type": "fixed",
    "video_segment_duration": 2,
    "audio_segmentation_type": "fixed",
    "audio_segment_duration": 2,
}
SEGMENTS = {"day/clip.mp4": 3, "sound.wav": 2, "picture.png": 1}
"""What the files are cut into by the preset."""

PROGRAM = """
    import json, os, sys
    request = json.load(sys.stdin)
    with open({runs!r}, "a") as runs:
        runs.write(request["idempotency_key"] + "\\n")
    whole = request["level"] == "video"
    metadata = {{"summary": "a boat"}} if whole else {{"title": "a boat", "people": []}}
    json.dump({{"metadata": metadata, "metadata_text": "a boat", "usage": {{"cost_usd": 0.25}}}}, sys.stdout)
"""


def media(folder: Path) -> dict[str, bytes]:
    """A film, a sound and a picture, by key."""
    made = {
        "day/clip.mp4": samples.video(folder / "clip.mp4", seconds=5.5, cuts=(3.0,)),
        "sound.wav": samples.audio(folder / "sound.wav", seconds=3.5),
        "picture.png": samples.image(folder / "picture.png"),
    }
    return {key: path.read_bytes() for key, path in made.items()}


def program(folder: Path) -> tuple[str, Path]:
    """The configuration of a command, and the file in which each of its runs leaves its key."""
    runs, script = folder / "runs", folder / "describe.py"
    runs.touch()
    script.write_text(textwrap.dedent(PROGRAM.format(runs=str(runs))))
    table = f"""
[processors.script]
type = "command"
command = ["{sys.executable}", "{script}"]
models = ["gemini-*"]
level = "segment"
"""
    return table, runs


def watch_over_the_api(daemon: Daemon, prefix: str = "") -> str:
    """Make an index whose automation is the example of the API, below `prefix`, and return its id."""
    status, index = daemon.call("POST", "/indexes", {"name": "Episodes"})
    assert status == 201, index
    index_id: str = index["index_id"]
    body = {
        "enabled": True,
        "paused": False,
        "connector_id": "conn_in",
        "source_prefix": prefix,
        "file_pattern": "*",
        "recursive": True,
        "debounce_interval": "5m",
        "prompt_preset": PRESET,
    }
    status, put = daemon.call("PUT", f"/indexes/{index_id}/automations/import", body)
    assert status == 200, put
    export = {"destination_connector_id": "conn_out", "destination_subpath": "results"}
    status, put = daemon.call("PUT", f"/indexes/{index_id}/automations/export", export)
    assert status == 200, put
    return index_id


def has_exported(daemon: Daemon, runs: int = 1) -> bool:
    """Whether so many runs have ended, and each was exported."""
    [(ended, exported)] = daemon.rows(
        """select (select count(*) from prompt_runs where completed_at is not null),
                  (select count(*) from exports where status = 'completed')"""
    )
    return bool(ended == exported == runs)


def await_export(daemon: Daemon, seconds: float = 120, runs: int = 1) -> None:
    wait_until(lambda: has_exported(daemon, runs), f"{runs} runs and their exports", seconds)


def segments_of(daemon: Daemon) -> dict[str, list[Any]]:
    """The errors (None: good) of each file's segments in order."""
    rows = daemon.rows(
        """select media.key, segment_results.error from segment_results
           join run_items on run_items.id = segment_results.run_item_id
           join media on media.id = run_items.media_id
           order by media.key, segment_results.ordinal"""
    )
    found: dict[str, list[Any]] = {}
    for key, error in rows:
        found.setdefault(key, []).append(error)
    return found
