"""Who is let in, who makes room, and what is reported of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.clock import FakeClock
from vvwatch.core.connections import ConnectionLimits, Timeouts
from vvwatch.daemon.serving.connections import Connections
from vvwatch.telemetry import Telemetry


@dataclass(eq=False)
class Client:
    network: str = ""
    late: str = ""
    ended: list[str] = field(default_factory=list)

    def overdue(self, now: float) -> str:
        return self.late if now else ""

    def end(self, reason: str) -> None:
        self.ended.append(reason)

    def drop(self) -> None:
        self.ended.append("dropped")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry("test")


def connections(telemetry: Telemetry, clock: FakeClock, total: int = 3, per_network: int = 2) -> Connections:
    return Connections(ConnectionLimits(total, per_network), telemetry, clock, Timeouts())


def counted(telemetry: Telemetry, name: str, reason: str) -> float | None:
    return telemetry.registry.get_sample_value(f"vvwatch_connections_{name}_total", {"reason": reason})


def admitted(into: Connections, *clients: Client) -> None:
    for client in clients:
        assert into.admit(client)


def test_the_one_that_waits_longest_for_its_first_request_makes_room(
    telemetry: Telemetry, clock: FakeClock
) -> None:
    open_ = connections(telemetry, clock)
    kept, first, second = Client(), Client(), Client()
    admitted(open_, kept, first, second)
    open_.note_request(kept)
    open_.note_answered(kept)
    admitted(open_, Client())
    assert (first.ended, second.ended, kept.ended) == (["dropped"], [], [])
    assert len(open_) == 3
    assert counted(telemetry, "closed", "made_room") == 1


def test_one_that_is_kept_between_requests_goes_before_one_that_is_answered_now(
    telemetry: Telemetry, clock: FakeClock
) -> None:
    open_ = connections(telemetry, clock)
    busy, late, early = Client(), Client(), Client()
    admitted(open_, busy, late, early)
    for each in (busy, late, early):
        open_.note_request(each)
    open_.note_answered(early)
    open_.note_answered(late)
    admitted(open_, Client())
    assert (early.ended, late.ended, busy.ended) == (["dropped"], [], [])


def test_where_all_are_busy_a_new_one_is_refused(telemetry: Telemetry, clock: FakeClock) -> None:
    open_ = connections(telemetry, clock)
    busy = [Client() for _ in range(3)]
    admitted(open_, *busy)
    for each in busy:
        open_.note_request(each)
    assert not open_.admit(Client())
    assert counted(telemetry, "refused", "full") == 1
    open_.leave(busy[0])
    admitted(open_, Client())


def test_an_address_makes_room_for_itself_alone(telemetry: Telemetry, clock: FakeClock) -> None:
    open_ = connections(telemetry, clock, total=10)
    other, first, second = Client("192.0.2.1"), Client("192.0.2.2"), Client("192.0.2.2")
    admitted(open_, other, first, second, Client("192.0.2.2"))
    assert (other.ended, first.ended, second.ended) == ([], ["dropped"], [])
    assert len(open_) == 3
    pressure = open_.pressure()
    assert pressure is not None
    assert pressure.what == "192.0.2.2 has all the connections to the API that one address may have"


def test_an_address_whose_connections_are_busy_is_refused_and_others_are_not(
    telemetry: Telemetry, clock: FakeClock
) -> None:
    open_ = connections(telemetry, clock, total=10)
    busy = [Client("192.0.2.2"), Client("192.0.2.2")]
    admitted(open_, *busy)
    for each in busy:
        open_.note_request(each)
    assert not open_.admit(Client("192.0.2.2"))
    assert counted(telemetry, "refused", "network_full") == 1
    admitted(open_, Client("192.0.2.3"))
    open_.leave(busy[0])
    admitted(open_, Client("192.0.2.2"))


def test_a_proxy_of_this_machine_is_no_single_address(telemetry: Telemetry, clock: FakeClock) -> None:
    open_ = connections(telemetry, clock, total=100)
    behind = [Client("") for _ in range(50)]
    admitted(open_, *behind)
    assert not any(each.ended for each in behind)


def test_a_shortage_of_descriptors_takes_from_who_waits(telemetry: Telemetry, clock: FakeClock) -> None:
    open_ = connections(telemetry, clock)
    waiting = Client()
    admitted(open_, waiting)
    assert open_.meet_shortage(OSError(24, "Too many open files"))
    assert waiting.ended == ["dropped"]
    assert not open_.meet_shortage(OSError(24, "Too many open files"))
    assert counted(telemetry, "refused", "no_descriptors") == 1


def test_who_has_left_is_not_counted(telemetry: Telemetry, clock: FakeClock) -> None:
    open_ = connections(telemetry, clock)
    gone = Client("192.0.2.1")
    admitted(open_, gone)
    open_.leave(gone)
    open_.leave(gone)
    open_.note_answered(gone)
    assert len(open_) == 0
    admitted(open_, Client("192.0.2.1"), Client("192.0.2.1"))


def test_the_pressure_is_told_for_a_minute(telemetry: Telemetry, clock: FakeClock) -> None:
    open_ = connections(telemetry, clock, total=1)
    admitted(open_, Client())
    assert open_.pressure() is None
    began = clock.now()
    admitted(open_, Client())
    clock.advance(50)
    admitted(open_, Client())
    clock.advance(50)
    found = open_.pressure()
    assert found is not None
    assert (found.since, found.what) == (began, "all connections of the API are taken")
    clock.advance(61)
    assert open_.pressure() is None


def test_who_is_late_is_ended_and_reported(telemetry: Telemetry, clock: FakeClock) -> None:
    open_ = connections(telemetry, clock)
    late, prompt = Client(late="head_late"), Client()
    admitted(open_, late, prompt)
    open_.sweep()
    assert late.ended == []  # no time has passed
    clock.advance(1)
    open_.sweep()
    assert (late.ended, prompt.ended) == (["head_late"], [])
    assert counted(telemetry, "closed", "head_late") == 1


def test_a_flood_is_logged_in_a_few_lines(clock: FakeClock) -> None:
    lines: list[Any] = []

    class Log:
        def is_enabled_for(self, _level: int) -> bool:
            return True

        def log(self, _level: int, event: str, **fields: Any) -> None:
            lines.append((event, fields))

    open_ = connections(Telemetry("test", Log(), seconds=clock.monotonic), clock)  # type: ignore[arg-type]
    for _ in range(10_000):
        open_.admit(Client())
        clock.advance(0.01)
    assert 2 <= len(lines) <= 4
    assert lines[1][1]["repeats"] > 1_000
