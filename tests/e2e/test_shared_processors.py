"""Three replicas call one model: within its limits together, and once for each question, whatever befalls them."""

from __future__ import annotations

import signal
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import samples
from tests.daemon_process import Daemon, wait_until
from tests.e2e import episodes
from tests.e2e.test_processors import SCALE
from tests.model_server import ModelServer
from tests.postgres_server import PostgresServer
from tests.replicas import Replicas

CLIPS = 12
CALLS = CLIPS * (3 + 1)
REQUESTS_PER_MINUTE, IN_FLIGHT, CALL_SECONDS = 60, 3, 1.0
CENT = 10_000_000
TABLE = f"""
[processing]
default = "vision"
[processors.vision]
type = "openai"
base_url = "{{url}}"
model = "stub-vision"
models = ["gemini-*"]
requests_per_minute = {REQUESTS_PER_MINUTE}
max_in_flight = {IN_FLIGHT}
timeout_seconds = 20
[processors.vision.prices."stub-*"]
usd_per_call = 0.01
"""


@dataclass
class MeteredServer(ModelServer):
    """Notes when each request came, and how many were under way at most."""

    came_at: list[float] = field(default_factory=list)
    most_under_way: int = 0

    def came(self) -> None:
        super().came()
        with self._lock:
            self.came_at.append(time.monotonic())
            self.most_under_way = max(self.most_under_way, self.under_way)

    def most_within(self, seconds: float) -> int:
        """How many requests came at most within so many seconds."""
        times = sorted(self.came_at)
        return max(bisect_left(times, at + seconds) - place for place, at in enumerate(times))

    def await_requests(self, number: int) -> None:
        wait_until(lambda: len(self.came_at) >= number, f"{number} requests", 120)


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    yield postgres_server.create_database("shared_model")
    postgres_server.drop_database("shared_model")


@pytest.mark.timeout(600)
def test_a_model_is_asked_within_its_limits_and_hardly_twice_whatever_befalls_its_callers(
    tmp_path: Path, url: str
) -> None:
    with MeteredServer(latency_seconds=CALL_SECONDS) as server:
        extra = TABLE.format(url=server.url) + episodes.PROMPT + SCALE
        replicas = Replicas(tmp_path, url, automation="enabled = false", extra=extra)
        frozen, killed, left = replicas.all
        clip = samples.video(tmp_path / "clip.mp4", seconds=5.5).read_bytes()
        for number in range(CLIPS):
            (left.incoming / f"clip-{number}.mp4").write_bytes(clip)
        with replicas.running():
            episodes.watch_over_the_api(left)
            server.await_requests(8)
            frozen.send(signal.SIGSTOP)
            server.await_requests(16)
            killed.kill()
            server.await_requests(28)
            frozen.send(signal.SIGCONT)
            episodes.await_export(left, 240)
            check(left, server)


def check(daemon: Daemon, server: MeteredServer) -> None:
    assert server.most_within(60) <= REQUESTS_PER_MINUTE
    assert server.most_under_way <= IN_FLIGHT
    assert len(server.charged) == CALLS
    again = server.charged.total() - CALLS
    print(f"{again} calls came twice")
    assert again <= 2 * IN_FLIGHT, "only what was under way when a replica was lost"
    cost = "sum(cost_nanousd), sum(attempts), count(*)"
    assert daemon.rows(f"select {cost} from llm_calls where status = 'completed'") == [
        (CALLS * CENT, CALLS, CALLS)
    ]
    [spent] = daemon.rows(
        "select cost_nanousd, reserved_nanousd, calls from spending where scope like 'run:%'"
    )
    assert spent == (CALLS * CENT, 0, CALLS)
