"""Three real daemons on one database and one shared folder, which is watched with sustained arrivals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

from tests.daemon_process import Daemon, wait_until

HEARTBEAT_SECONDS = 5.0


class Replicas:
    """Replicas a, b and c below `base`, on the database at `url`; `ways` are the URLs of those that have their own.

    `options` go to every Daemon.
    """

    def __init__(self, base: Path, url: str, ways: Mapping[str, str] | None = None, **options: Any) -> None:
        self._base = base
        self._url = url
        self._ways = ways or {}
        self._options = options
        self.all = [self.another(node) for node in "abc"]

    def another(self, node: str) -> Daemon:
        """One more replica, with a name and a state directory of its own, not started."""
        return Daemon(
            self._base / node,
            database_url=self._ways.get(node, self._url),
            direct_url=self._url,
            node=node,
            heartbeat=f"{HEARTBEAT_SECONDS:g}s",
            shared=self._base / "shared",
            **self._options,
        )

    @contextmanager
    def running(self, *first: Daemon) -> Iterator[list[Daemon]]:
        """All three, ready, or those that are to be the first; whatever runs is killed at the end."""
        try:
            for replica in first or self.all:
                replica.spawn()
            for replica in first or self.all:
                replica.await_ready()
            yield self.all
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill whatever runs."""
        for replica in self.all:
            replica.kill()


@dataclass(frozen=True)
class Poll:
    """One whole listing: who made it, and from when to when (epoch seconds)."""

    node: str
    automation: str
    started_at: float
    ended_at: float


def polls(replicas: list[Daemon]) -> list[Poll]:
    """Every listing that the replicas' logs tell of, in the order of their starts."""
    found = [_poll(replica.node, event) for replica in replicas for event in replica.events("scan.finished")]
    return sorted(found, key=lambda poll: poll.started_at)


def _poll(node: str, event: dict[str, Any]) -> Poll:
    ended_at = datetime.fromisoformat(event["timestamp"]).timestamp()
    return Poll(node, event["automation"], ended_at - event["duration_seconds"], ended_at)


def overlaps(listings: list[Poll], slack_seconds: float = 0.005) -> list[tuple[Poll, Poll]]:
    """Pairs of listings of one automation by two replicas that ran at the same time.

    Times in the log are rounded, hence the slack.
    """
    return [
        (first, second)
        for first, second in combinations(listings, 2)
        if first.automation == second.automation
        and first.node != second.node
        and second.started_at + slack_seconds < first.ended_at
    ]


def wait_ready(replica: Daemon, *, ready: bool, seconds: float) -> None:
    """Wait until /readyz says so."""
    what = f"replica {replica.node} says that it is {'' if ready else 'not '}ready"
    wait_until(lambda: replica.is_ready() is ready, what, seconds)
