"""`vvwatch plan`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run

CONFIG = """
[local]
roots = ["{folder}"]
[connectors.in]
type = "local"
path = "{folder}"
[connectors.cloud]
type = "gcs"
bucket = "studio-stage"
endpoint_url = "http://127.0.0.1:9"
[indexes.a]
[indexes.b]
[automations.a]
index = "a"
connector = "in"
[automations.b]
index = "b"
connector = "cloud"
paused = true
max_list_calls_per_hour = 1200
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "vvwatch.toml"
    path.write_text(CONFIG.format(folder=tmp_path))
    return str(path)


def test_each_automation_is_forecast_and_all_together(run: Run, config: str) -> None:
    done = run("plan", "--config", config, "--objects", "1000000")
    assert done.exit_code == 0
    _, first, second, total, *notes = done.stdout.splitlines()
    assert first.split()[:3] == ["a", "1,000,000", "notices"]
    assert second.split()[:3] == ["b", "1,000,000", "listing"]
    assert total.split()[0] == "all"
    assert notes == [
        "b: it is paused or disabled, and imports nothing until you resume or enable it",
        "b: listings are stretched, to keep to 1,200 list calls an hour",
    ]


def test_programs_get_the_numbers(run: Run, config: str) -> None:
    document = json.loads(run("plan", "--config", config, "--objects", "1000000", "--json").stdout)
    first, second = document["automations"]
    assert (first["calls_per_listing"], first["calls_per_hour"], first["stretched"]) == (0, 0, False)
    assert second["calls_per_listing"] == 1_000
    assert 0 < second["calls_per_hour"] <= 1_200
    assert second["max_list_calls_per_hour"] == 1_200
    assert document["total"]["calls_per_day"] == pytest.approx(24 * second["calls_per_hour"])


def test_a_location_that_cannot_be_counted_is_said_and_fails(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "vvwatch.toml"
    text = CONFIG.format(folder=tmp_path).replace(f'path = "{tmp_path}"', f'path = "{tmp_path}/missing"')
    path.write_text(text[: text.index("[automations.b]")])
    done = run("plan", "--config", str(path))
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1].startswith("a: ")
    [only] = json.loads(run("plan", "--config", str(path), "--json").stdout)["automations"]
    assert (only["objects"], only["error"]["message"]) != (None, None)


def test_a_wrong_configuration_is_told_as_check_tells_it(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "vvwatch.toml"
    path.write_text(CONFIG.format(folder=tmp_path).replace("= 1200", "= 0"))
    done = run("plan", "--config", str(path))
    assert done.exit_code == 78
    assert "automations.b.max_list_calls_per_hour" in done.stderr
    path.write_text("")
    assert run("plan", "--config", str(path)).stdout == "the configuration has no automation\n"


def test_a_budget_that_no_listing_keeps_is_doubtful(run: Run, config: str) -> None:
    text = Path(config).read_text().replace("= 1200", '= 30\nscan_interval = "1m"')
    Path(config).write_text(text)
    done = run("check", "--config", config)
    assert done.exit_code == 0
    assert "30 list calls an hour do not allow a listing every 1m" in done.stdout


def test_without_a_file_there_is_nothing_to_forecast_and_it_says_so(run: Run, tmp_path: Path) -> None:
    assert run("plan").stdout.endswith("no automation: there is no file, name one with --config\n")
    (tmp_path / "empty.toml").touch()
    assert run("plan", "--config", str(tmp_path / "empty.toml")).stdout.endswith("has no automation\n")


PAID = """
[prompts.seen]
prompt_text = "Say what is seen."
json_schema = { type = "object", properties = { n = { type = "integer" } } }
[automations.a.prompt]
prompt_id = "seen"
processing_model = "gpt"
video_segmentation_type = "fixed"
video_segment_duration = 10
[processing.budget]
per_day_usd = 1.0
[processors.gpt]
type = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "model-1"
[processors.gpt.prices."*"]
usd_per_call = 0.01
"""


def test_what_processing_costs_is_forecast_before_anything_runs(run: Run, config: str) -> None:
    with Path(config).open("a") as file:
        file.write(PAID)
    asked = ("plan", "--config", config, "--objects", "4", "--media-seconds", "300")
    first, second = json.loads(run(*asked, "--json").stdout)["automations"]
    work = first["processing"]
    assert (work["processor"], work["items"], work["media_seconds"]) == ("gpt", 4, 300)
    assert 120 <= work["calls"] <= 124
    assert work["usd"] == pytest.approx(0.01 * work["calls"])
    assert work["input_tokens"] > work["calls"]
    assert "per_day_usd" in work["shortages"][0]
    assert second["processing"] is None
    text = run(*asked).stdout
    assert "a: gpt would process 4 videos of 5" in text
    assert "a: processing would wait: per_day_usd" in text
