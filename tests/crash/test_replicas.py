"""Three replicas on one PostgreSQL, with files coming all the time: whatever breaks, nothing is lost or doubled."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests import slices
from tests.crash import accounting
from tests.crash.producer import Producer
from tests.crash.small_disk import fill, make_room, small_disk
from tests.daemon_process import Daemon, wait_until
from tests.fault_proxy import FaultProxy
from tests.postgres_server import PostgresServer
from tests.receiver import Receiver
from tests.replicas import HEARTBEAT_SECONDS, Poll, Replicas, overlaps, polls, wait_ready

KILLS = 60 if slices.FULL else 12
TAKE_OVER_SECONDS = 10.0
MARGIN_SECONDS = 10.0  # of a machine that is busy with other things
NOTICED_SECONDS = 10.0
HEALED_SECONDS = 30.0
MOST_COMPLAINTS = 3  # an outage is told when it begins, and at growing intervals
OUTAGE = "database.unavailable"
COMPLAINTS = (OUTAGE, "task.failed", "job.failed", "hint.failed", "scan.failed")


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    yield postgres_server.create_database("replicas")
    postgres_server.drop_database("replicas")


def finish(daemon: Daemon, producer: Producer, receiver: Receiver, seconds: float = 240) -> None:
    wait_until(lambda: accounting.is_done(daemon, producer.names), "all done", seconds)
    accounting.check(daemon, producer.names, receiver)


def imported(daemon: Daemon) -> int:
    return int(daemon.rows("select count(*) from media")[0][0])


def wait_for_more(daemon: Daemon, seconds: float = 40) -> None:
    """Wait until another file is media: there is a load."""
    before = imported(daemon)
    wait_until(lambda: imported(daemon) > before, "another file is media", seconds)


@pytest.mark.timeout(600)
def test_kill_replicas_at_random_instants(tmp_path: Path, picture: Path, url: str) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)  # shown when the test fails
    with Receiver() as receiver:
        replicas = Replicas(tmp_path, url, webhook_url=receiver.url)
        fourth = replicas.another("d")
        producer = Producer(fourth.incoming, picture)
        with producer.running(every_seconds=2.5), replicas.running():
            kills = kill_at_random(replicas, random.Random(seed))
        assert not accounting.is_done(fourth, producer.names)
        with fourth:
            finish(fourth, producer, receiver)
    listings = polls([*replicas.all, fourth])
    repeats = accounting.repeats(receiver)
    print(f"{kills} kills, {len(producer.names)} files, {len(listings)} listings, {repeats} repeats")
    assert {"d"} < {poll.node for poll in listings}
    assert no_prefix_is_listed_twice_at_once(listings)


def kill_at_random(replicas: Replicas, rng: random.Random) -> int:
    """Kill one, two or all at a time, and start them again at once; returns how many were killed.

    Every fourth time not before somebody is ready, so that there is work to interrupt.
    """
    kills = rounds = 0
    while kills < KILLS:
        if rounds % 4 == 0:
            wait_until(lambda: any(replica.announced for replica in replicas.all), "one is ready", 60)
        time.sleep(rng.uniform(0.3, 1.0))
        victims = rng.sample(replicas.all, rng.choice((1, 1, 2, 3)))
        for victim in victims:
            victim.kill()
        for victim in victims:
            victim.spawn()
        kills += len(victims)
        rounds += 1
    return kills


def no_prefix_is_listed_twice_at_once(listings: list[Poll]) -> bool:
    """No two replicas list one prefix at the same time, but for the one case of a take-over.

    A listing that was cut short is not in the log. One that took longer than the heartbeat was its maker's
    whose heart stood still meanwhile: only that one may be overtaken.
    """
    twice = [
        (first, second)
        for first, second in overlaps(listings)
        if first.ended_at - first.started_at < HEARTBEAT_SECONDS
    ]
    assert not twice, twice
    return True


@pytest.mark.timeout(600)
def test_a_frozen_replica_comes_back_to_find_its_work_done(tmp_path: Path, picture: Path, url: str) -> None:
    with Receiver() as receiver:
        replicas = Replicas(tmp_path, url, webhook_url=receiver.url)
        frozen, *others = replicas.all
        producer = Producer(frozen.incoming, picture)
        with replicas.running(frozen):
            producer.drop()
            wait_until(lambda: bool(in_hand(frozen)), "it works, alone as yet")
            [name] = set(in_hand(frozen).values())
            for other in others:
                other.start()
            with producer.running(every_seconds=1.5):
                frozen_at, held = freeze_at_work(frozen, name)
                wait_until(lambda: name not in in_hand(frozen).values(), "its work is taken over", 60)
                taken_over_seconds = time.monotonic() - frozen_at
                before = imported(frozen)
                silence = frozen_at + 3 * HEARTBEAT_SECONDS
                wait_until(lambda: time.monotonic() > silence, "it was silent for long", 60)
                wait_until(lambda: imported(frozen) > before, "the others go on")
                frozen.send(signal.SIGCONT)
                wait_for_more(frozen)
            finish(frozen, producer, receiver)
            assert frozen.is_ready()
    listings = polls(others)
    print(f"{held} jobs taken over after {taken_over_seconds:.1f} s")
    print(f"{len(producer.names)} files, {len(listings)} listings")
    assert no_prefix_is_listed_twice_at_once(listings)
    assert taken_over_seconds < TAKE_OVER_SECONDS + MARGIN_SECONDS


def freeze_at_work(frozen: Daemon, name: str) -> tuple[float, int]:
    """Freeze it as often as it takes to find it with work in hand; when that was, and how many jobs it holds."""
    while True:
        wait_for_more(frozen)
        frozen.send(signal.SIGSTOP)
        frozen_at = time.monotonic()
        time.sleep(0.5)  # what it had said before has reached the server
        held = list(in_hand(frozen).values()).count(name)
        if held:
            return frozen_at, held
        frozen.send(signal.SIGCONT)


def in_hand(witness: Daemon) -> dict[int, str]:
    """The jobs that are in somebody's hands, and what that replica is called there."""
    taken = "select id, cast(queue_manager_id as text) from pgqueuer where status = 'picked'"
    return dict(witness.rows(taken))


@pytest.mark.timeout(600)
def test_the_database_crashes_and_recovers(tmp_path: Path, picture: Path) -> None:
    crashes = 3
    with Receiver() as receiver, PostgresServer() as server:
        replicas = Replicas(tmp_path, server.create_database("replicas"), webhook_url=receiver.url)
        producer = Producer(replicas.all[0].incoming, picture)
        with replicas.running() as running:
            processes = [replica.process for replica in running]
            with producer.running(every_seconds=2.0):
                for _ in range(crashes):
                    wait_for_more(running[0])
                    server.crash()
                    all_turn(running, ready=False, seconds=NOTICED_SECONDS)
                    server.start()
                    all_turn(running, ready=True, seconds=HEALED_SECONDS)
            finish(running[0], producer, receiver)
            assert all(process is not None and process.poll() is None for process in processes)
    for replica in replicas.all:
        check_told(replica, outages=crashes, files=len(producer.names))


def complains(replica: Daemon) -> bool:
    return any("database does not work" in event["error"] for event in replica.events(*COMPLAINTS))


def all_turn(replicas: list[Daemon], *, ready: bool, seconds: float) -> None:
    started = time.monotonic()
    for replica in replicas:
        wait_ready(replica, ready=ready, seconds=seconds)
        print(f"{replica.node} ready={ready} after {time.monotonic() - started:.1f} s")


def check_told(replica: Daemon, *, outages: int, files: int) -> None:
    """Each outage is in the log, and not as a flood; a file that comes meanwhile is told once."""
    complaints = [
        event
        for event in replica.events(*COMPLAINTS, "log.recorded")
        if event["level"] in ("warning", "error")
    ]
    print(replica.node, Counter(event["event"] for event in complaints))
    assert replica.events(OUTAGE)
    assert replica.events("database.available")
    assert len(complaints) <= MOST_COMPLAINTS * outages + files


@pytest.mark.timeout(600)
def test_the_network_to_the_database_is_cut_and_frozen(
    tmp_path: Path, picture: Path, postgres_server: PostgresServer, url: str
) -> None:
    with Receiver() as receiver, FaultProxy(postgres_server.address) as proxy:
        way = postgres_server.url("replicas").replace(str(postgres_server.port), str(proxy.address[1]))
        replicas = Replicas(tmp_path, url, {"a": way}, webhook_url=receiver.url)
        first, second, _ = replicas.all
        producer = Producer(first.incoming, picture)
        with replicas.running():
            with producer.running(every_seconds=1.5):
                for trouble in (proxy.cut, proxy.freeze):
                    wait_for_more(second)
                    trouble()
                    with steady_progress(second, longest_seconds=20.0):
                        all_turn([first], ready=False, seconds=NOTICED_SECONDS + 15)
                    proxy.mend()
                    all_turn([first], ready=True, seconds=HEALED_SECONDS)
            finish(second, producer, receiver)
    assert no_prefix_is_listed_twice_at_once(polls(replicas.all[1:]))


@contextmanager
def steady_progress(witness: Daemon, longest_seconds: float) -> Iterator[None]:
    """Files become media meanwhile, and no two of them are further apart."""
    started_at = float(witness.rows("select extract(epoch from clock_timestamp())")[0][0])
    yield
    since = (
        f"select created_at from media where created_at > {started_at}"  # a commit from before may show late
    )
    wait_until(lambda: bool(witness.rows(since)), "another file is media", 40)
    made = [at for (at,) in witness.rows(since)]
    gaps = [later - earlier for earlier, later in pairwise([started_at, *sorted(made)])]
    print(f"longest gap {max(gaps):.1f} s")
    assert max(gaps) < longest_seconds


def use_up_log(server: PostgresServer) -> None:
    """Write until the files that the server has ready for its log are full; small commits find room there."""
    for _ in range(64):
        try:
            server.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 2000000))")
        except (OSError, RuntimeError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return  # refused, or the server has stopped over it
    pytest.fail("the log still has room")


@pytest.mark.timeout(600)
def test_the_disk_of_the_server_is_full(tmp_path: Path, picture: Path) -> None:
    settings = {"max_wal_size": "32MB", "min_wal_size": "32MB"}
    with (
        Receiver() as receiver,
        small_disk(megabytes=160) as disk,
        PostgresServer(directory=disk, settings=settings) as server,
    ):
        replicas = Replicas(tmp_path, server.create_database("replicas"), webhook_url=receiver.url)
        producer = Producer(replicas.all[0].incoming, picture)
        with replicas.running() as running:
            with producer.running(every_seconds=1.5):
                wait_for_more(running[0])
                fill(disk)
                use_up_log(server)
                all_turn(running, ready=False, seconds=40)
                make_room(disk)
                server.start()  # it may have ended for want of room
                all_turn(running, ready=True, seconds=HEALED_SECONDS)
            finish(running[0], producer, receiver)


@pytest.mark.timeout(600)
def test_the_disk_of_the_only_node_is_full(tmp_path: Path, picture: Path) -> None:
    with Receiver() as receiver, small_disk(megabytes=6) as disk:
        (tmp_path / "base").mkdir()
        (tmp_path / "base" / "state").symlink_to(disk)
        daemon = Daemon(tmp_path / "base", webhook_url=receiver.url)
        producer = Producer(daemon.incoming, picture)
        with daemon:
            with producer.running(every_seconds=1.5):
                wait_for_more(daemon)
                fill(disk)
                all_turn([daemon], ready=False, seconds=40)
                wait_until(lambda: complains(daemon), "the log says why")
                make_room(disk)
                all_turn([daemon], ready=True, seconds=HEALED_SECONDS)
            finish(daemon, producer, receiver)


@pytest.mark.timeout(600)
def test_clock_jump(tmp_path: Path, picture: Path, dialect: str, request: pytest.FixtureRequest) -> None:
    """The time of day jumps by an hour, ahead and back: what is under way ends in time nevertheless."""
    url = "" if dialect == "sqlite" else request.getfixturevalue("url")
    offset = tmp_path / "offset"
    offset.write_text("0")
    command = (str(Path(__file__).with_name("jumping_daemon.py")), str(offset))
    with Receiver() as receiver:
        daemon = Daemon(
            tmp_path, "4s", webhook_url=receiver.url, database_url=url, command=command, warm=False
        )
        opened = "select count(*) from windows where state = 'open'"
        producer = Producer(daemon.incoming, picture)
        with daemon:
            for seconds in (3600, 0):  # ahead, and back again
                producer.drop()
                wait_until(lambda: daemon.rows(opened) == [(1,)], "a window is open")
                part = tmp_path / "part"
                part.write_text(str(seconds))
                part.rename(offset)
                started = time.monotonic()
                finish(daemon, producer, receiver)
                print(f"{dialect}: done {time.monotonic() - started:.1f} s after the jump to {seconds} s")


@pytest.mark.timeout(300)
def test_a_node_that_is_killed_is_missed_by_the_others_and_one_that_stops_is_not(
    tmp_path: Path, url: str
) -> None:
    replicas = Replicas(tmp_path, url)
    with replicas.running():
        first, second, third = replicas.all
        wait_until(lambda: len(first.get("/status")["nodes"]) == 3, "all have said that they work")
        second.kill()
        wait_until(
            lambda: bool(lost(first, third)), "the others miss it", HEARTBEAT_SECONDS + 3 * MARGIN_SECONDS
        )
        third.stop()
        [missed] = lost(first, third)
        assert (missed["node"], missed["level"]) == ("b", "warning")
        assert missed["silent_seconds"] >= HEARTBEAT_SECONDS
        told = {node["name"]: node for node in first.get("/status")["nodes"]}
        assert told["b"]["lost_at"] is not None
        [finding] = [each for each in first.get("/doctor")["findings"] if each["about"] == "node"]
        assert (finding["id"], finding["state"]) == ("b", "warning")
        assert "sent no heartbeat since" in finding["detail"]
        assert "its work was taken over" in finding["detail"]

        time.sleep(HEARTBEAT_SECONDS + 2)
        assert [each["node"] for each in lost(first)] in ([], ["b"]), "who stops in order is not missed"
        assert set(told) - {"c"} == {node["name"] for node in first.get("/status")["nodes"]}
        second.start()
        wait_until(lambda: not is_lost(first, "b"), "it is back", 2 * MARGIN_SECONDS)
        [returned] = second.events("node.returned")
        assert returned["node"] == "b"


def lost(*replicas: Daemon) -> list[dict[str, Any]]:
    return [event for replica in replicas for event in replica.events("node.lost")]


def is_lost(replica: Daemon, name: str) -> bool:
    nodes = replica.get("/status")["nodes"]
    return any(node["name"] == name and node["lost_at"] for node in nodes)
