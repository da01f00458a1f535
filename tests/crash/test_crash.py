"""`kill -9` at any instant loses nothing and doubles nothing, while files keep coming."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import vvwatch
from tests import samples
from tests.crash import accounting
from tests.daemon_process import Daemon, wait_until
from tests.receiver import Receiver

RANDOM_KILLS = 50
COMMIT_POINTS = [
    "declaring._declare",
    "database.sweep",
    "windows.accept",
    "automations.scanned",
    "windows.close",
    "imports.begin_file",
    "imports.finish_file",
    "runs.begin_item",
    "runs.finish_item",
    "exports.begin",
    "ledger.claim_output",
    "exports.finish",
    "deliveries.begin",
    "deliveries.finish",
    "sqlite_engine._turn",
]
OFF_THE_WAY = {  # commits that a file which goes well never meets; the tests of the store meet them
    "automations.scan_failed",
    "exports.fail",
    "exports.retry",
    "imports.retry_file",
    "ledger.observe",
    "runs.fail_item",
    "runs.retry_item",
    "windows.acknowledge",
}


def test_every_commit_of_the_pipeline_is_a_point() -> None:
    source = Path(vvwatch.__file__).parent
    text = "".join(path.read_text() for path in (source / "workflow").glob("*.py"))
    written = {name for name in re.findall(r"database\.write\(\s*(\w+\.\w+)", text) if name[0] != "_"}
    assert written <= {*COMMIT_POINTS, *OFF_THE_WAY}


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.image(tmp_path_factory.mktemp("picture") / "picture.png")


class Producer:
    """Drops a new file every now and then; each is renamed into place under a name of its own."""

    def __init__(self, folder: Path, picture: Path) -> None:
        self.names: set[str] = set()
        self._folder = folder
        self._picture = picture

    def drop(self) -> None:
        name = f"picture-{len(self.names):04}.png"
        part = self._folder / f".{name}.part"
        shutil.copyfile(self._picture, part)
        part.rename(self._folder / name)
        self.names.add(name)

    @contextmanager
    def running(self, every_seconds: float) -> Iterator[None]:
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(every_seconds):
                self.drop()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def run_to_the_end(daemon: Daemon, producer: Producer, receiver: Receiver) -> None:
    with daemon:
        wait_until(lambda: accounting.is_done(daemon, producer.names), "all done", seconds=120)
    accounting.check(daemon, producer.names, receiver)


@pytest.mark.timeout(400)
def test_kill_at_random_instants(tmp_path: Path, picture: Path) -> None:
    with Receiver() as receiver:
        daemon = Daemon(tmp_path, webhook_url=receiver.url)
        producer = Producer(daemon.incoming, picture)
        with producer.running(every_seconds=2.5):
            for _ in range(RANDOM_KILLS):
                daemon.start()
                time.sleep(random.uniform(0.0, 1.5))
                daemon.kill()
        run_to_the_end(daemon, producer, receiver)


@pytest.mark.timeout(400)
def test_kill_at_every_commit_point(tmp_path: Path, picture: Path) -> None:
    """Trap 27, kill_at_every_await: right before and right after each kind of commit of the pipeline."""
    with Receiver() as receiver:
        daemon = Daemon(tmp_path, webhook_url=receiver.url)
        producer = Producer(daemon.incoming, picture)
        for name in COMMIT_POINTS:
            for moment in ("before", "after"):
                producer.drop()
                die_at(daemon, moment, name)
        run_to_the_end(daemon, producer, receiver)


def die_at(daemon: Daemon, moment: str, name: str) -> None:
    program = Path(__file__).with_name("dying_daemon.py")
    with daemon.log.open("a") as log:
        ended = subprocess.run(
            [sys.executable, str(program), moment, name, str(daemon.config)],
            stdout=subprocess.DEVNULL,
            stderr=log,
            timeout=40,
            check=False,
        )
    assert ended.returncode == -9, f"never reached {name}: {daemon.log.read_text()[-2000:]}"


@pytest.mark.timeout(200)
def test_losing_the_whole_jobs_table_changes_nothing(tmp_path: Path, picture: Path) -> None:
    with Receiver() as receiver:
        daemon = Daemon(tmp_path, webhook_url=receiver.url)
        producer = Producer(daemon.incoming, picture)
        with producer.running(every_seconds=0.5):
            for _ in range(3):
                daemon.start()
                time.sleep(2.5)
                daemon.kill()
                wipe_jobs(daemon.state / "vvwatch.db")
        run_to_the_end(daemon, producer, receiver)


def wipe_jobs(path: Path) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("delete from jobs")
    connection.close()
