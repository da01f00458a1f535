"""A listener hears every event of the real daemon once, in one order, though the daemon is killed again and again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

import httpx2
import pytest

from tests import samples
from tests.daemon_process import ADMIN_KEY, Daemon
from tests.e2e.conftest import Make

PATH = "/api/v2/processing/events/stream"
FILES = 4
KILLED_AFTER = (1, 9)


@dataclass
class Listener:
    """A client that goes on behind the last id it was told, whenever its connection breaks."""

    last_id: str = ""
    heard: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)

    def listen(self, daemon: Daemon, until: int, kind: str = "") -> None:
        """Until so many events were heard in all, and one of this kind."""
        headers = {"X-API-Key": ADMIN_KEY} | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        deadline = time.monotonic() + 60
        with httpx2.stream("GET", daemon.url + PATH, headers=headers, timeout=40) as response:
            assert response.status_code == 200
            for line in response.iter_lines():
                self._take(line)
                if self.last_id and len(self.heard) >= until and (not kind or kind in self.types):
                    return
                assert time.monotonic() < deadline, self.types
        raise EOFError

    def _take(self, line: str) -> None:
        name, _, value = line.partition(": ")
        if name == "id":
            self.last_id = value
        elif name == "data":
            told = json.loads(value)
            self.heard.append(told["event_id"])
            self.types.append(told["event_type"])
        assert name != "event", "nothing was missed"


@pytest.mark.timeout(180)
def test_sse_resume_over_kills_loses_and_doubles_nothing(make: Make) -> None:
    daemon, listener = make(debounce="1s", settle="0.3s", warm=True), Listener()
    with daemon:
        listener.listen(daemon, 0)
        for number in range(FILES):
            samples.image(daemon.incoming / f"{number}.png")
        for count in KILLED_AFTER:
            listener.listen(daemon, count)
            daemon.kill()
            daemon.start()
        listener.listen(daemon, 0, "export.ready")
        assert daemon.stop() == 0
    told = [row[0] for row in daemon.rows("select id from events order by place, id")]
    assert listener.heard == told[: len(listener.heard)]
