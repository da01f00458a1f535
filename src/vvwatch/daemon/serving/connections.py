"""Open connections: admits new ones, ends late ones, makes room."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Protocol

from vvwatch.core.connections import ConnectionLimits, Timeouts
from vvwatch.ports import Clock
from vvwatch.telemetry import Telemetry

_SWEEPS_PER_TIMEOUT: Final = 10
_LONGEST_SWEEP_SECONDS: Final = 1.0
_RECENT_SECONDS: Final = 60.0

FULL: Final = "full"
NETWORK_FULL: Final = "network_full"
NO_DESCRIPTORS: Final = "no_descriptors"
MADE_ROOM: Final = "made_room"
HEAD_LATE: Final = "head_late"
BODY_LATE: Final = "body_late"
READER_LATE: Final = "reader_late"
NOT_HTTP: Final = "not_http"
TLS_FAILED: Final = "tls_failed"

_LEVELS: Final = {MADE_ROOM: "warning", NOT_HTTP: "debug"}  # uvicorn logs the latter

_WORDS: Final = {
    FULL: (
        "all connections of the API are taken",
        "ss -tn  # who has them; [api] max_connections is the limit",
    ),
    NETWORK_FULL: (
        "{network} has all the connections to the API that one address may have",
        "ss -tn  # who has them; a proxy may need a larger [api] max_connections_per_address",
    ),
    NO_DESCRIPTORS: (
        "no file descriptor is left for a connection to the API",
        "raise LimitNOFILE= in the service's unit (ulimit -n elsewhere), or sysctl fs.file-max",
    ),
}


class Client(Protocol):
    """A connection, from its acceptance on."""

    network: str

    def overdue(self, now: float) -> str:
        """Return the time limit exceeded at the monotonic moment `now` (HEAD_LATE …); empty for none."""
        ...

    def end(self, reason: str) -> None:
        """Answer with 408 if HTTP allows it, and close."""
        ...

    def drop(self) -> None:
        """Close at once."""
        ...


@dataclass(frozen=True, slots=True)
class Pressure:
    """A limit of connections reached within the last minute, since when (epoch seconds), and the remedy."""

    what: str
    hint: str
    since: float


class Connections:
    """Counts connections, admits them up to `limits`, and ends late ones.

    When all are taken, drops the one that waits longest without a request: first among those that never sent one,
    then among those kept between requests. Rejects a new one only if every connection has a request under way.
    """

    def __init__(
        self, limits: ConnectionLimits, telemetry: Telemetry, clock: Clock, timeouts: Timeouts | None = None
    ) -> None:
        self.limits = limits
        self.timeouts = timeouts or Timeouts()
        self.seconds = clock.monotonic
        self._clock = clock
        self._telemetry = telemetry
        self._open: set[Client] = set()
        self._per_network: Counter[str] = Counter()
        self._new: dict[Client, None] = {}  # in the order in which they came
        self._kept: dict[Client, None] = {}  # in the order in which their last request ended
        self._swept_at = self.seconds()
        self._pressure: Pressure | None = None
        self._pressed_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, client: Client) -> bool:
        """Admit a new connection; return False if there is no room."""
        taken = self._per_network[client.network]
        if client.network and taken >= self.limits.per_network:
            has_room = self._make_room(NETWORK_FULL, client.network)
        else:
            has_room = len(self._open) < self.limits.total or self._make_room(FULL)
        if has_room:
            self._open.add(client)
            self._per_network[client.network] += 1
            self._new[client] = None
        return has_room

    def meet_shortage(self, error: OSError) -> bool:
        """Free a descriptor for accepting; return whether one was freed."""
        return self._make_room(NO_DESCRIPTORS, error=error)

    def pressure(self) -> Pressure | None:
        """Return the limit reached within the last minute; None if there was always room."""
        lasts = self._pressure is not None and self.seconds() - self._pressed_at <= _RECENT_SECONDS
        return self._pressure if lasts else None

    def _make_room(self, reason: str, network: str = "", error: OSError | None = None) -> bool:
        """Drop the connection (of `network`) that waits longest without a request; return False if there is none."""
        what, hint = _WORDS[reason]
        what = what.format(network=network)
        self._note_pressure(what, hint)
        for waiting in (self._new, self._kept):
            for client in waiting:
                if network in ("", client.network):
                    self.note_end(client, MADE_ROOM)
                    self.leave(client)
                    client.drop()
                    return True
        self._telemetry.emit(
            "connection.refused", reason=reason, network=network, message=what, hint=hint, error=error
        )
        return False

    def _note_pressure(self, what: str, hint: str) -> None:
        lasting = self.pressure()
        since = self._clock.now() if lasting is None else lasting.since
        self._pressure, self._pressed_at = Pressure(what, hint, since), self.seconds()

    def note_request(self, client: Client) -> None:
        """Note that the whole head of a request arrived."""
        self._new.pop(client, None)
        self._kept.pop(client, None)

    def note_answered(self, client: Client) -> None:
        """Note that the request is answered and the connection waits for another."""
        if client in self._open:
            self._kept[client] = None

    def note_end(self, client: Client, reason: str, error: OSError | None = None) -> None:
        """Report why this side ends a connection."""
        level = _LEVELS.get(reason)
        self._telemetry.emit("connection.closed", level, reason=reason, network=client.network, error=error)

    def leave(self, client: Client) -> None:
        """Remove a connection that is closed or closing."""
        if client not in self._open:
            return
        self._open.discard(client)
        self.note_request(client)
        self._per_network[client.network] -= 1
        if not self._per_network[client.network]:
            del self._per_network[client.network]

    def sweep(self) -> None:
        """End late connections; does its work once a second, or more often with short limits."""
        now, timeouts = self.seconds(), self.timeouts
        shortest = min(timeouts.head_seconds, timeouts.body_seconds, timeouts.reader_seconds)
        if now - self._swept_at < min(_LONGEST_SWEEP_SECONDS, shortest / _SWEEPS_PER_TIMEOUT):
            return
        self._swept_at = now
        for client, reason in [(each, each.overdue(now)) for each in self._open]:
            if reason:
                self.note_end(client, reason)
                client.end(reason)
