"""What is wrong shows, whatever else goes on: a failure among many files, paused exports, an emptied inbox."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tests import samples
from tests.daemon_process import Daemon, wait_until
from tests.e2e.conftest import Make

PICTURES = 55


def status(daemon: Daemon) -> Any:
    return daemon.get("/status")


def attention(daemon: Daemon, kind: str) -> list[Any]:
    return [each for each in status(daemon)["attention"] if each["kind"] == kind]


def jobs(daemon: Daemon) -> list[Any]:
    return [job for job in daemon.get("/import-jobs?limit=200") if job["completed_at"]]


@pytest.mark.timeout(300)
def test_a_failure_stays_in_sight_and_an_emptied_inbox_may_be_believed(make: Make) -> None:
    daemon = make(automation="max_objects = 1")
    whole = samples.video(daemon.base / "whole.mp4", seconds=2).read_bytes()
    (daemon.incoming / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    with daemon:
        wait_until(lambda: bool(attention(daemon, "import_job")), "the clip has failed", 60)
        first = samples.image(daemon.incoming / "000.jpg")
        for number in range(1, PICTURES):
            shutil.copy(first, daemon.incoming / f"{number:03}.jpg")
        wait_until(lambda: len(jobs(daemon)) > PICTURES, "everything is imported", 200)
        [found] = attention(daemon, "import_job")
        assert found["what"].startswith("cut.mp4: ")

        for path in daemon.incoming.glob("*.jpg"):
            path.unlink()
        wait_until(lambda: "missing" in str(status(daemon)["automations"][0]["remarks"]), "it is doubted", 60)
        code, _ = daemon.call("POST", "/indexes/idx_main/automations/import/scan?accept_missing=true", None)
        assert code == 202
        wait_until(lambda: not status(daemon)["automations"][0]["remarks"], "it is believed", 60)


def contents(daemon: Daemon) -> dict[str, bytes]:
    """All files of the state directory, without what SQLite writes to open its database."""
    files = (path for path in daemon.state.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if path.suffix not in {".db-wal", ".db-shm"}}


@pytest.mark.timeout(120)
def test_a_lost_secret_key_is_not_replaced_in_silence(make: Make) -> None:
    """Webhooks that the API made could not be signed any more, and nothing said so."""
    daemon = make()
    daemon.environ.pop("VVWATCH_SECRET_KEY", None)
    with daemon:
        daemon.stop()
    (daemon.state / "secret.key").unlink()
    before = contents(daemon)
    for _ in range(2):
        process = daemon.spawn().process
        assert process is not None
        assert process.wait(60) != 0
        assert process.stdout is not None
        process.stdout.close()
        daemon.process = None
        said = daemon.log.read_text()
        assert "secret key" in said
        assert "db reset-secrets" in said
        assert contents(daemon) == before, "a refused start writes nothing"
