"""A kill between a pack of pictures and the commit that names it: nothing half, nothing double, nothing left over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import accounting
from tests.crash.dying import die_at
from tests.crash.producer import Producer
from tests.daemon_process import Daemon, wait_until
from tests.receiver import Receiver


@pytest.mark.timeout(300)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_around_the_commit_of_an_item(tmp_path: Path, picture: Path, moment: str) -> None:
    with Receiver() as receiver:
        daemon = Daemon(tmp_path, webhook_url=receiver.url)
        producer = Producer(daemon.incoming, picture)
        producer.drop()
        die_at(daemon, moment, "runs.finish_item")
        folder = daemon.state / "pictures"
        [pack] = folder.glob("??/*.pack")
        assert len(daemon.rows("select * from pictures")) == (moment == "after")
        half, orphan = folder / "dead.part", pack.with_name(f"999999.{'0' * 16}.pack")
        half.write_bytes(pack.read_bytes()[:100])
        orphan.write_bytes(pack.read_bytes())
        with daemon:
            wait_until(lambda: accounting.is_done(daemon, producer.names), "all done", seconds=120)
            wait_until(lambda: not orphan.exists(), "the orphan is removed")
            assert not half.exists()
        accounting.check(daemon, producer.names, receiver)
        assert pack.exists()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_around_the_write_of_a_pack(tmp_path: Path, picture: Path, moment: str) -> None:
    """Before it has its name it is half, afterwards nothing names it: the next life leaves one whole pack."""
    with Receiver() as receiver:
        daemon = Daemon(tmp_path, webhook_url=receiver.url)
        producer = Producer(daemon.incoming, picture)
        producer.drop()
        die_at(daemon, moment, "pictures.keep")
        folder = daemon.state / "pictures"
        assert len(list(folder.glob("*.part"))) == (moment == "before")
        assert len(list(folder.glob("??/*.pack"))) == (moment == "after")
        assert daemon.rows("select * from pictures") == []
        with daemon:
            wait_until(lambda: accounting.is_done(daemon, producer.names), "all done", seconds=120)
        accounting.check(daemon, producer.names, receiver)
        assert len(daemon.rows("select * from pictures")) == 1
        [pack] = folder.glob("??/*.pack")
        assert pack.stat().st_size > 0
        assert list(folder.glob("*.part")) == []
