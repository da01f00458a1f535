"""Every list of a real daemon with long names fits 80 columns, and the ids that it shows can be used."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests import samples
from tests.cli.conftest import Run
from tests.daemon_process import ADMIN_KEY, Daemon, wait_until
from tests.receiver import Receiver
from vvwatch.cli.tables import measure

NAME = "camera-a-rushes-of-the-second-unit-2026"
CLIP = f"{'a-very-long-name-of-a-clip-' * 3}素材.mp4"
LISTS = (
    ("status",),
    ("windows",),
    ("jobs",),
    ("runs",),
    ("exports",),
    ("webhooks",),
    ("deliveries",),
    ("connectors",),
    ("prompts",),
    ("processors",),
    ("reconciles",),
    ("keys",),
    ("audit",),
    ("connectors", "browse", f"conn_{NAME}"),
)


class LongNames(Daemon):
    """A daemon whose automation, connectors and webhook have long names."""

    def write_config(self) -> None:
        super().write_config()
        text = self.config.read_text()
        for old in ("automations.main", "connectors.in", "webhooks.receiver"):
            text = text.replace(f"[{old}", f"[{old.partition('.')[0]}.{NAME}")
        text = text.replace('connector = "in"', f'connector = "{NAME}"').replace(
            "[indexes.main]", f"[indexes.{NAME}]"
        )
        self.config.write_text(text.replace('index = "main"', f'index = "{NAME}"'))


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that has imported a clip, failed with another, exported both and told a receiver that refuses."""
    base = tmp_path_factory.mktemp("narrow")
    with (
        Receiver(statuses=[500] * 1000) as receiver,
        LongNames(base, webhook_url=f"{receiver.url}/{NAME}") as daemon,
    ):
        samples.image(daemon.incoming / f"{'a-very-long-name-of-a-clip-' * 3}素材.png")
        (daemon.incoming / f"{'a-broken-clip-' * 6}.mp4").write_bytes(b"\0" * 100)
        wait_until(lambda: bool(daemon.get("/exports?limit=1")), "an export")
        wait_until(lambda: bool(daemon.get(f"/webhooks/wh_{NAME}/deliveries?limit=1")), "a delivery")
        yield daemon
        assert daemon.stop() == 0


@pytest.fixture(autouse=True)
def _eighty_columns(worked: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VVWATCH_STATE_DIR", str(worked.state))
    monkeypatch.setenv("VVWATCH_API_KEY", ADMIN_KEY)
    monkeypatch.setenv("COLUMNS", "80")


def table_of(run: Run, *args: str) -> list[str]:
    done = run(*args)
    assert done.exit_code == 0, done.stderr
    table = done.stdout.split("\n\n")[1 if args == ("status",) else 0].splitlines()
    assert len(table) > 1, done.stdout
    return table


@pytest.mark.parametrize("args", LISTS, ids=" ".join)
def test_every_list_fits_80_columns(run: Run, args: tuple[str, ...]) -> None:
    table = table_of(run, *args)
    assert max(map(measure, table)) <= 80, "\n".join(table)


@pytest.mark.parametrize(
    ("name", "field"), [("jobs", "job_id"), ("exports", "export_id"), ("deliveries", "delivery_id")]
)
def test_the_id_that_a_table_shows_can_be_used(run: Run, name: str, field: str) -> None:
    shown = table_of(run, name, "--limit", "1")[1].split()[0]
    [found] = json.loads(run(name, "--limit", "1", "--json").stdout).popitem()[1]
    assert found[field] != shown
    table = run(name, "show", shown).stdout.split("\n\n")[0].splitlines()
    assert max(map(measure, table[:2])) <= 80
    answer = json.loads(run(name, "show", shown, "--json").stdout)
    assert answer.get("import_job", answer)[field] == found[field]


def test_the_files_of_a_job_fit_and_why_one_failed_is_whole(run: Run) -> None:
    shown = run("jobs", "show", table_of(run, "jobs")[1].split()[0]).stdout
    parts = shown.split("\n\n")
    table = [line for line in parts[1].splitlines() if line.startswith(("FILE", "1 ", "2 "))]
    assert max(map(measure, table[:3])) <= 80
    [file] = list(json.loads(run("jobs", "--json").stdout)["import_jobs"][0]["failed_files"])
    assert file["error"] in shown
