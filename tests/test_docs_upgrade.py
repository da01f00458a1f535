"""docs/upgrade.md is true about the way back: a backup over the database, and what comes twice then."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import samples
from tests.daemon_process import Daemon, wait_until
from vvwatch.cli.root import vvwatch as cli

PAGE = (Path(__file__).parents[1] / "docs" / "upgrade.md").read_text(encoding="utf-8")


def exports(daemon: Daemon) -> int:
    return len(list((daemon.outgoing / "results").glob("*.manifest.json")))


@pytest.mark.timeout(240)
def test_what_happened_after_a_backup_happens_again_and_nothing_else(tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    daemon = Daemon(tmp_path / "d")
    samples.image(daemon.incoming / "before.png")
    with daemon:
        wait_until(lambda: exports(daemon) == 1, "the first is exported", 60)
        done = CliRunner().invoke(cli, ["db", "backup", str(backup), "--state-dir", str(daemon.state)])
        assert done.exit_code == 0, done.output
        samples.image(daemon.incoming / "after.png")
        wait_until(lambda: exports(daemon) == 2, "the second is exported", 60)
        assert daemon.stop() == 0
        shutil.copy(backup, daemon.state / "vvwatch.db")
        for name in re.findall(r"`(vvwatch\.db-\w+)`", PAGE):
            (daemon.state / name).unlink(missing_ok=True)
        daemon.start()
        wait_until(lambda: exports(daemon) == 3, "the second is exported again", 60)
        titles = sorted(item["title"] for item in daemon.get("/indexes/idx_main/videos")["data"])
    assert titles == ["after.png", "before.png"]
