"""The alert rules, the dashboard and the tables of docs/monitoring.md speak of metrics and events that exist."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests import samples
from tests.daemon_process import Daemon, wait_until
from tests.promql import faults_of, selectors
from tests.receiver import Receiver

ROOT = Path(__file__).parents[1]
RULES = yaml.safe_load((ROOT / "config" / "prometheus-alerts.yaml").read_text())["groups"]
TRIALS = yaml.safe_load((ROOT / "config" / "prometheus-alerts-test.yaml").read_text())["tests"]
DASHBOARD = json.loads((ROOT / "config" / "grafana-dashboard.json").read_text())
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
ALERTS = {rule["alert"]: rule for group in RULES for rule in group["rules"]}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"].replace("$instance", ".*") for panel in PANELS for target in panel["targets"]]


def require(command: str) -> str:
    found = shutil.which(command)
    if found is None:
        pytest.skip(f"NOT TESTED: {command} is missing (Debian: package prometheus)")
    return found


def test_the_tables_are_those_of_the_code() -> None:
    """After a change of metrics or events: python docs/catalogue.py --write."""
    filled = subprocess.run(
        [sys.executable, "docs/catalogue.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert filled.stdout == PAGE


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_names_metrics_and_labels_that_exist(name: str) -> None:
    rule = ALERTS[name]
    assert faults_of(rule["expr"]) == []
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["labels"]["severity"] in {"warning", "critical"}


def test_each_alert_is_tried_and_documented() -> None:
    tried = {
        each["alertname"] for trial in TRIALS for each in trial["alert_rule_test"] if "exp_alerts" in each
    }
    assert tried == set(ALERTS)
    assert set(re.findall(r"(?m)^\| `(Vvwatch\w+)` \|", PAGE)) == set(ALERTS)
    for trial in TRIALS:
        for series in trial["input_series"]:
            assert faults_of(series["series"]) == []


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_panel_names_metrics_and_labels_that_exist(expression: str) -> None:
    assert faults_of(expression) == []


@pytest.mark.parametrize(
    "expression",
    ["vvwatch_nonsense", 'vvwatch_scans_total{nonsense="x"}', "sum by (nonsense) (vvwatch_nodes_up)"],
)
def test_what_does_not_exist_would_be_noticed(expression: str) -> None:
    assert faults_of(expression) != []


def test_the_dashboard_can_be_imported() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken = set[tuple[int, int]]()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


def test_promtool_accepts_the_rules_and_their_tests() -> None:
    promtool = require("promtool")
    for command in (
        ["check", "rules", "prometheus-alerts.yaml"],
        ["test", "rules", "prometheus-alerts-test.yaml"],
    ):
        ended = subprocess.run(
            [promtool, *command], cwd=ROOT / "config", capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that imported, failed, exported, delivered and skipped."""
    base = tmp_path_factory.mktemp("monitored")
    with Receiver([500]) as receiver:
        found = Daemon(
            base,
            webhook_url=receiver.url,
            extra="[processing.budget]\nper_day_usd = 1.0\nper_month_usd = 10.0\n",
        )
        samples.image(found.incoming / "good.jpg")
        (found.incoming / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing")
        (found.incoming / "other.txt").write_text("no media")
        with found:
            wait_until(lambda: "vvwatch_oldest_waiting_seconds{" in scrape(found), "measured once", 60)
            wait_until(lambda: bool(found.get("/exports")), "exported", 60)
            wait_until(lambda: 'outcome="delivered"} 0' not in scrape(found), "delivered", 60)
            yield found


def scrape(daemon: Daemon) -> str:
    with urllib.request.urlopen(f"{daemon.url}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.timeout(200)
def test_a_running_daemon_answers_every_panel_and_rule(daemon: Daemon) -> None:
    samples_there = [
        (sample.name, sample.labels)
        for family in text_string_to_metric_families(scrape(daemon))
        for sample in family.samples
    ]
    rules = [rule["expr"] for rule in ALERTS.values() if "up{" not in rule["expr"]]
    for expression in [*EXPRESSIONS, *rules]:
        for selector in selectors(expression):
            if 'processor!=""' in expression or selector.metric == "vvwatch_queue_healthy":
                continue  # there is no other processor, and no queue
            fits = any(selector.fits(name, labels) for name, labels in samples_there)
            assert fits, f"{selector} of {expression}"


@pytest.mark.timeout(200)
def test_a_prometheus_gets_an_answer_for_every_panel(daemon: Daemon, tmp_path: Path) -> None:
    prometheus = require("prometheus")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    target = daemon.url.removeprefix("http://")
    scrapes = {"job_name": "vvwatch", "scrape_interval": "1s", "static_configs": [{"targets": [target]}]}
    (tmp_path / "prometheus.yml").write_text(
        yaml.safe_dump(
            {"scrape_configs": [scrapes], "rule_files": [str(ROOT / "config" / "prometheus-alerts.yaml")]}
        )
    )
    command = [
        prometheus,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: has_result(port, "count_over_time(up[1m]) > 3"), "four scrapes", 60)
        wanted = [each for each in EXPRESSIONS if 'processor!=""' not in each]
        assert [each for each in wanted if not has_result(port, each)] == []
    finally:
        running.kill()
        running.wait(10)


def has_result(port: int, expression: str) -> bool:
    """Whether Prometheus answers with at least one series."""
    query = urllib.parse.urlencode({"query": expression, "time": f"{time.time():.3f}"})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=10) as answer:
            found: Any = json.load(answer)
    except OSError:
        return False
    return bool(found["data"]["result"])
