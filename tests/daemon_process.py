"""The real daemon as a subprocess, with real signals, over a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

ADMIN_KEY = "sk_live_" + "a1b2c3d4" * 6
SECRET = "whsec_planted-secret-for-tests-0123456789"


@dataclass
class Daemon:
    """A daemon over `base`: `incoming` is watched, `outgoing` takes exports. `extra` is appended TOML."""

    base: Path
    debounce: str = "1s"
    settle: str = "0.3s"
    automation: str = ""
    extra: str = ""
    webhook_url: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    url: str = ""

    def __post_init__(self) -> None:
        self.incoming = self.base / "incoming"
        self.outgoing = self.base / "outgoing"
        self.state = self.base / "state"
        self.config = self.base / "vvwatch.toml"
        self.log = self.base / "daemon.log"
        self.incoming.mkdir(parents=True, exist_ok=True)
        self.outgoing.mkdir(exist_ok=True)
        (self.base / "secret").write_text(SECRET + "\n")
        (self.base / "secret").chmod(0o600)
        self.write_config()

    def write_config(self) -> None:
        text = f"""
listen = "127.0.0.1:0"
state_dir = "{self.state}"
drain_seconds = 20
[log]
format = "json"
level = "debug"
[local]
roots = ["{self.base}"]
[webhooks]
allow_http = true
allow_private_addresses = true
delays = ["1s", "1s", "2s", "5s", "5s", "5s"]
disable_after = 1000
[connectors.in]
type = "local"
path = "{self.incoming}"
[connectors.out]
type = "local"
path = "{self.outgoing}"
scopes = ["export"]
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
"""
        if self.webhook_url:
            text += f"""
[webhooks.receiver]
url = "{self.webhook_url}"
secret_file = "{self.base / "secret"}"
events = ["media.created", "media.processing.started", "media.processing.completed",
  "media.processing.failed", "prompt_run.started", "prompt_run.completed", "prompt_run.failed",
  "prompt_run.partial_completed", "export.ready", "export.failed", "import_job.started",
  "import_job.completed", "import_job.failed", "import_job.partial_completed"]
"""
        self.config.write_text(text + self.extra)

    def start(self) -> Self:
        environ = {**os.environ, "VVWATCH_ADMIN_KEY": ADMIN_KEY, **self.environ}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vvwatch", "run", "--config", str(self.config)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environ,
            )
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

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the daemon's own database, read without touching it."""
        path = self.state / "vvwatch.db"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 40) -> None:
    """Poll until `condition` holds; fails, naming `what`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
