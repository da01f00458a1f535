"""`kill -9` at any instant loses nothing and doubles nothing, while files keep coming."""

from __future__ import annotations

import random
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import vvwatch
from tests import slices
from tests.crash import accounting
from tests.crash.dying import die_at
from tests.crash.producer import Producer
from tests.daemon_process import Daemon, wait_until
from tests.postgres_server import PostgresServer
from tests.receiver import Receiver

RANDOM_KILLS = 50 if slices.FULL else 10
COMMIT_POINTS = [
    "declaring._apply_all",
    "database.requeue_overdue",
    "windows.accept_objects",
    "automations.record_scan",
    "windows.close_due",
    "imports.finish_file",
    "runs.begin_item",
    "runs.finish_item",
    "exports.begin",
    "ledger.claim_outputs",
    "exports.finish",
    "deliveries.begin_all",
    "deliveries.finish_all",
]
ENGINE_POINTS = {
    "sqlite": [("before", "sqlite_engine._turn"), ("after", "sqlite_engine._turn")],
    "postgresql": [
        ("after", "pgqueuer.dequeue"),
        ("before", "pgqueuer.log_jobs"),
        ("after", "pgqueuer.log_jobs"),
    ],
}
OFF_THE_WAY = {  # commits that a file which goes well never meets; the tests of the store meet them
    "absences.accept_missing",  # of what a person says is gone
    "absences.mark_gone",
    "absences.clear_absences",
    "absences.restore_versions",
    "absences.record_missing",
    "automations.postpone_scan",
    "alerts.begin",  # of people: tests/e2e/test_alerts.py kills between these
    "alerts.finish",
    "alerts.forget_others",
    "alerts.record",
    "audit.store_refusals",  # of refused requests: test_refusals counts what an outage holds up
    "automations.record_scan_failure",
    "automations.bring_scans_forward",
    "catalog.move_uploads",  # at each start, to what holds already
    "deliveries.undo_attempt",  # of a machine that cannot send
    "exports.fail",
    "own_files.claim_file",  # of files of exports with options: test_export_layout dies at them
    "ledger.release_outputs",  # of a name that somebody else took first
    "sidecars.record_sidecars",  # of captions and facts beside media: test_late_captions and test_late_facts
    "fact_updates.begin",
    "fact_updates.finish",
    "fact_updates.end",
    "fact_updates.retry",
    "search_vectors.store_vectors",  # of a sentence model that the user brings
    "exports.retry",
    "attachments.note_fetched",  # of files of other hosts: test_attachments dies at it
    "imports.retry_file",
    "ledger.record_observations",
    "one_time.begin",  # of jobs that a person asks for: test_one_time dies at these
    "one_time.fail",
    "one_time.list_again",
    "one_time.seal",
    "one_time.record_listed",
    "processor_states.retry_waiting",  # of processors that are paused: test_pauses and test_shared_processors
    "processor_states.pause",
    "processor_states.resume_reconfigured",
    "processor_states.resume",
    "quarantine.keep_messages",
    "quotas.return_lease",
    "retrying.take_up",  # of objects that their store did not give: test_troubles dies at these
    "course.advance",  # of runs that a person asks for: the tests of the store take their steps one by one
    "runs.fail_item",
    "runs.retry_item",
    "segment_retries.retry_later",
    "segment_retries.begin",
    "segment_retries.fail",
    "fairness.feed_starving",
    "cancellation.skip_files",
    "unreadable.begin_try",
    "unreadable.give_back",
    "unreadable.drop_replaced",
    "unreadable.prune",
    "unreadable.put_off",
    "unreadable.wait_for_store",
    "windows.acknowledge_objects",
}


def test_every_commit_of_the_pipeline_is_a_point() -> None:
    source = Path(vvwatch.__file__).parent
    text = "".join(path.read_text() for path in (source / "workflow").rglob("*.py"))
    written = {name for name in re.findall(r"database\.write\(\s*(\w+\.\w+)", text) if name[0] != "_"}
    assert written <= {*COMMIT_POINTS, *OFF_THE_WAY}


@pytest.fixture
def database_url(dialect: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new database on the server, or nothing: the daemon's own file."""
    if dialect == "sqlite":
        yield ""
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    yield server.create_database("crash")
    server.drop_database("crash")


def run_to_the_end(daemon: Daemon, producer: Producer, receiver: Receiver) -> None:
    with daemon:
        wait_until(lambda: accounting.is_done(daemon, producer.names), "all done", seconds=300)
    accounting.check(daemon, producer.names, receiver)


@pytest.mark.timeout(600)
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


@pytest.mark.timeout(600)
def test_kill_at_every_commit_point(tmp_path: Path, picture: Path, dialect: str, database_url: str) -> None:
    """Trap 27, kill_at_every_await: right before and right after each kind of commit of the pipeline."""
    points = [(moment, name) for name in COMMIT_POINTS for moment in ("before", "after")]
    points += ENGINE_POINTS[dialect]
    with Receiver() as receiver:
        daemon = Daemon(tmp_path, webhook_url=receiver.url, database_url=database_url, heartbeat="1s")
        producer = Producer(daemon.incoming, picture)
        for moment, name in slices.sample(points, 6):
            producer.drop()
            die_at(daemon, moment, name)
        run_to_the_end(daemon, producer, receiver)


@pytest.mark.timeout(600)
def test_losing_the_whole_jobs_table_changes_nothing(
    tmp_path: Path, picture: Path, database_url: str
) -> None:
    with Receiver() as receiver:
        daemon = Daemon(tmp_path, webhook_url=receiver.url, database_url=database_url)
        producer = Producer(daemon.incoming, picture)
        with producer.running(every_seconds=0.5):
            for _ in range(3):
                daemon.start()
                time.sleep(2.5)
                daemon.kill()
                wipe_jobs(daemon)
        run_to_the_end(daemon, producer, receiver)


def wipe_jobs(daemon: Daemon) -> None:
    if daemon.replicated:
        daemon.rows("delete from pgqueuer")
        return
    connection = sqlite3.connect(daemon.state / "vvwatch.db")
    with connection:
        connection.execute("delete from jobs")
    connection.close()
