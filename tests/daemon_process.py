"""The real daemon as a subprocess, with real signals, over a folder of its own."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

import asyncpg

from tests.warm_python import WarmPython

ADMIN_KEY = "sk_live_" + "a1b2c3d4" * 6
SECRET = "whsec_planted-secret-for-tests-0123456789"
SECRET_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="  # replicas read each other's secrets
COMMAND = ("-m", "vvwatch", "run", "--config")
EVENTS = (
    "media.created",
    "media.processing.started",
    "media.processing.completed",
    "media.processing.failed",
    "prompt_run.started",
    "prompt_run.completed",
    "prompt_run.failed",
    "prompt_run.partial_completed",
    "export.ready",
    "export.failed",
    "import_job.started",
    "import_job.completed",
    "import_job.failed",
    "import_job.partial_completed",
)


@dataclass
class Daemon:
    """A daemon over `base`: `incoming` is watched, `outgoing` takes exports. `extra` is appended TOML.

    `export` has the options of the automation's export.

    `connectors` declares other connectors `in` and `out` than those of the two folders.

    With the `database_url` of a server it is the replica `node`; what is watched and exported then lies in the
    folder `shared` of all replicas (default: `base`). `direct_url` is the way of `rows` to the server, where
    the daemon's own leads through a proxy. `command` is what Python runs; the configuration file follows.
    Variables that are empty in `environ` are not passed on.
    A `warm` one is not started from nothing, which costs two seconds of CPU time, but forked from a process that
    has it imported.
    """

    base: Path
    debounce: str = "1s"
    settle: str = "0.3s"
    automation: str = ""
    export: str = ""
    extra: str = ""
    connectors: str = ""
    webhook_url: str = ""
    told: Sequence[str] = EVENTS
    environ: dict[str, str] = field(default_factory=dict)
    database_url: str = ""
    direct_url: str = ""
    node: str = "one"
    heartbeat: str = "5s"
    shared: Path | None = None
    command: Sequence[str] = COMMAND
    warm: bool = True
    process: subprocess.Popen[str] | WarmPython | None = None
    url: str = ""

    def __post_init__(self) -> None:
        data = self.shared or self.base
        self.incoming = data / "incoming"
        self.outgoing = data / "outgoing"
        self.state = self.base / "state"
        self.config = self.base / "vvwatch.toml"
        self.log = self.base / "daemon.log"
        self.base.mkdir(parents=True, exist_ok=True)
        self.incoming.mkdir(parents=True, exist_ok=True)
        self.outgoing.mkdir(exist_ok=True)
        (self.base / "secret").write_text(SECRET + "\n")
        (self.base / "secret").chmod(0o600)
        if self.database_url:
            self.environ = {"VVWATCH_SECRET_KEY": SECRET_KEY, **self.environ}
        self.write_config()

    @property
    def replicated(self) -> bool:
        return bool(self.database_url)

    def write_config(self) -> None:
        server = f'database_url = "{self.database_url}"' if self.replicated else ""
        shared = "shared = true" if self.replicated else ""
        folders = f"""
[connectors.in]
type = "local"
path = "{self.incoming}"
{shared}
[connectors.out]
type = "local"
path = "{self.outgoing}"
scopes = ["export"]
{shared}
"""
        text = f"""
listen = "127.0.0.1:0"
state_dir = "{self.state}"
drain_seconds = 20
{server}
[log]
format = "json"
level = "debug"
[local]
roots = ["{self.incoming.parent}"]
[webhooks]
allow_http = true
allow_networks = ["127.0.0.0/8", "::1"]
delays = ["1s", "1s", "2s", "5s", "5s", "5s"]
disable_after = 1000
[attachments]
allow_http = true
allow_networks = ["127.0.0.0/8", "::1"]
{self.connectors or folders}
[indexes.main]
[automations.main]
index = "main"
connector = "in"
debounce = "{self.debounce}"
settle = "{self.settle}"
scan_interval = "2s"
{self.automation}
[automations.main.export]
connector = "out"
subpath = "results"
{self.export}
"""
        if self.replicated:
            text += f'[node]\nname = "{self.node}"\nheartbeat = "{self.heartbeat}"\n'
        if self.webhook_url:
            text += f"""
[webhooks.receiver]
url = "{self.webhook_url}"
secret_file = "{self.base / "secret"}"
events = {json.dumps(list(self.told))}
"""
        self.config.write_text(text + self.extra)

    def start(self) -> Self:
        """Start it and wait until it is ready."""
        return self.spawn().await_ready()

    def spawn(self) -> Self:
        """Start it; `await_ready` is to follow before it is asked anything."""
        self.url = ""
        environ = {**os.environ, "VVWATCH_ADMIN_KEY": ADMIN_KEY, **self.environ}
        environ = {name: value for name, value in environ.items() if value}
        if self.warm:
            self.process = WarmPython([*self.command, str(self.config)], environ, self.log)
            return self
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command, str(self.config)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environ,
            )
        return self

    @property
    def announced(self) -> bool:
        """Whether it has said since `spawn` that it is ready."""
        assert self.process is not None
        assert self.process.stdout is not None
        return bool(self.url or select.select([self.process.stdout], [], [], 0)[0])

    def await_ready(self) -> Self:
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "ready on http" in line, f"{line!r}\n{self.log.read_text()[-3000:]}"
        self.url = line.split()[-1]
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """SIGKILL, as power loss would."""
        if self.process is not None:
            self.process.kill()
            self._reap()

    def send(self, number: int) -> None:
        """Send it a signal: SIGSTOP freezes it, SIGCONT lets it go on."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Ask it to end and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(seconds)
        return self._reap()

    def _reap(self) -> int:
        assert self.process is not None
        code = self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code

    def get(self, path: str) -> Any:
        """The JSON answer of GET /api/v2`path`."""
        return self.call("GET", path)[1]

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of one API call with the admin key."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-API-Key": ADMIN_KEY, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v2{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def is_ready(self) -> bool:
        """What /readyz answers; not ready when it does not answer in time."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=3) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The events of these names in its log, over all its lives; a line that a kill cut short is none."""
        wanted = tuple(f'"{name}"' for name in names)
        found = []
        for line in self.log.read_text().splitlines():
            if any(name in line for name in wanted):
                with suppress(json.JSONDecodeError):
                    found.append(json.loads(line))
        return [event for event in found if event["event"] in names]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the daemon's own database, read without touching it."""
        if self.replicated:
            return _loop().run_until_complete(_fetched(self.direct_url or self.database_url, sql))
        path = self.state / "vvwatch.db"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


_connections: dict[str, Any] = {}
_GONE = (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InterfaceError)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Where all connections live, until the tests end."""
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


async def _fetched(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Asked over a connection that is kept, for a new one costs more than twenty questions; one may have died."""
    if url in _connections:
        with suppress(*_GONE):
            return await _asked(_connections[url], sql)
        _connections.pop(url).terminate()
    _connections[url] = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
    return await _asked(_connections[url], sql)


async def _asked(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(sql)]


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 40) -> None:
    """Poll until `condition` holds; fails, naming `what`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
