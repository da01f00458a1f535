"""What is wrong shows, whatever else goes on: a failure among many files, paused exports, an emptied inbox."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
from click.testing import CliRunner

from tests import samples
from tests.crash.small_disk import fill, make_room, small_disk
from tests.daemon_process import ADMIN_KEY, Daemon, wait_until
from tests.e2e.conftest import Make
from vvwatch.cli.root import vvwatch as cli

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


@pytest.mark.timeout(120)
def test_the_log_names_each_failed_file_with_its_reason_and_job(make: Make) -> None:
    daemon = make()
    whole = samples.video(daemon.base / "whole.mp4", seconds=2).read_bytes()
    (daemon.incoming / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    with daemon:
        wait_until(lambda: bool(jobs(daemon)), "the clip has failed", 60)
        [job] = jobs(daemon)
        assert daemon.stop() == 0
    [logged] = daemon.events("import.file_failed")
    assert (logged["level"], logged["object_key"]) == ("warning", "cut.mp4")
    assert (logged["reason"], logged["import_job"]) == ("media_unreadable", job["job_id"])
    assert "truncated" in logged["message"]


@pytest.mark.timeout(120)
def test_commands_find_the_key_that_the_daemon_was_given_in_a_file(make: Make) -> None:
    """Which it reads as a credential, and which no other variable names."""
    daemon = make()
    file = daemon.base / "given.key"
    file.write_text(f"{ADMIN_KEY}\n")
    file.chmod(0o600)
    daemon.environ |= {"VVWATCH_ADMIN_KEY": "", "VVWATCH_ADMIN_KEY_FILE": str(file)}
    usual = {name: None for name in os.environ if name.startswith("VVWATCH_")}
    with daemon:
        words = ["status", "--state-dir", str(daemon.state)]
        done = CliRunner().invoke(cli, words, env=usual)
        assert done.exit_code == 0, done.output
        assert "auto_main" in done.output


@pytest.mark.timeout(120)
def test_an_export_to_a_full_disk_is_told_with_its_folder(make: Make) -> None:
    daemon = make()
    with small_disk(1) as disk:
        daemon.outgoing.rmdir()
        daemon.outgoing.symlink_to(disk)
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace('roots = ["', f'roots = ["{disk}", "'))
        fill(disk)
        samples.image(daemon.incoming / "a.png")
        with daemon:
            wait_until(lambda: bool(attention(daemon, "export")), "it is said", 60)
            [found] = attention(daemon, "export")
            assert f"no room for '{daemon.outgoing}/results/exp_" in found["what"]
            [told] = [each for each in daemon.get("/doctor")["findings"] if each["about"] == "export"]
            assert (told["state"], told["subject"]) == ("problem", "waiting")
            make_room(disk)
            wait_until(lambda: not attention(daemon, "export"), "it is delivered", 60)


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
