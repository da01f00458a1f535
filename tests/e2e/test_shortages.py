"""A real daemon whose machine gives it no working folder: good files wait and are imported when it does again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import samples
from tests.daemon_process import wait_until
from tests.e2e.conftest import Make

FILES = 20


@pytest.mark.timeout(300)
def test_files_outlive_a_lack_of_working_folders(make: Make, tmp_path: Path) -> None:
    """What a full disk does too, which a test cannot have everywhere."""
    picture = samples.image(tmp_path / "whole.png").read_bytes()
    with make() as daemon:
        spool, away = daemon.state / "spool", daemon.state / "away"
        spool.rename(away)
        spool.touch()
        for number in range(FILES):
            (daemon.incoming / f"{number}.png").write_bytes(picture)
        waits = "select count(*) from import_files where reason = 'machine_shortage' and waits > 0"
        wait_until(lambda: daemon.rows(waits) == [(FILES,)], "all wait", 100)

        [told] = [each for each in daemon.get("/status")["attention"] if each["kind"] == "machine"]
        assert "cannot make a working folder" in told["what"]
        assert told["count"] == FILES
        assert "owner of the spool" in told["fix"]

        spool.unlink()
        away.rename(spool)
        wait_until(lambda: daemon.rows("select count(*) from media") == [(FILES,)], "all are imported", 150)

    assert daemon.rows("select distinct status, attempts - waits from import_files") == [("imported", 1)]
    assert 1 <= len(daemon.events("machine.shortage")) < FILES
