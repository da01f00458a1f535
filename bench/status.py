"""The status of a daemon with very many automations: the command, the API and the dashboard's first page.

Usage: python bench/status.py [--automations N] [--requests N]

The real daemon as a process; each automation is an index of its own that watches a prefix of one bucket of an emulator
(ministack). All are listed once before the first request. A path that the version does not have is left out. Exits with
1 when a median is above its bar.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import psutil

from idle import BUCKET, configure, cpu_seconds, first_round, started
from soak import server

MOST_MILLISECONDS: Final = {"/api/v2/status": 300.0, "/": 200.0}
ADMIN_KEY: Final = f"sk_live_{'b' * 48}"


def connect(base: Path) -> HTTPConnection:
    """Connect to the daemon whose state folder is below `base`."""
    parts = urlsplit((base / "state" / "address").read_text().strip())
    assert parts.hostname
    return HTTPConnection(parts.hostname, parts.port, timeout=60)


def run_command(base: Path) -> float:
    """Seconds of the median of five `vvwatch status`, the start of Python included."""
    command = (sys.executable, "-m", "vvwatch", "status", "--json", "--config", str(base / "vvwatch.toml"))
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.monotonic() - began)
    return statistics.median(times)


def log_in(connection: HTTPConnection) -> str | None:
    """Begin a session of a browser and return its cookie; None where there is no dashboard."""
    connection.request(
        "POST", "/login", urlencode({"key": ADMIN_KEY}), {"Content-Type": "application/x-www-form-urlencoded"}
    )
    answer = connection.getresponse()
    answer.read()
    if answer.status == 404:
        return None
    assert answer.status == 303, answer.status
    return (answer.getheader("set-cookie") or "").partition(";")[0]


def measure(
    connection: HTTPConnection, path: str, headers: dict[str, str], process: psutil.Popen, requests: int
) -> tuple[float, float, int]:
    """Milliseconds and CPU milliseconds of the median answer, and its bytes."""
    times, costs, length = [], [], 0
    for _ in range(requests):
        began, cpu = time.monotonic(), cpu_seconds(process)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        length = len(answer.read())
        assert answer.status == 200, (path, answer.status)
        times.append(time.monotonic() - began)
        costs.append(cpu_seconds(process) - cpu)
    return statistics.median(times) * 1000, statistics.fmean(costs) * 1000, length


def main(arguments: argparse.Namespace) -> bool:
    os.environ["VVWATCH_ADMIN_KEY"] = ADMIN_KEY
    met = True
    with server() as at, tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        urlopen(Request(f"{at.endpoint_url}/{BUCKET}", method="PUT"), timeout=10).close()
        process = started(configure(base, at.endpoint_url, arguments.automations))
        try:
            first_round(process, base, arguments.automations)
            connection = connect(base)
            print(f"{arguments.automations} automations: vvwatch status --json  {run_command(base):.2f} s")
            key, cookie = {"X-API-Key": ADMIN_KEY}, log_in(connection)
            for path, bar in MOST_MILLISECONDS.items():
                headers = key if path.startswith("/api/") else cookie and {"Cookie": cookie}
                if not headers:
                    continue
                wall, cpu, length = measure(connection, path, headers, process, arguments.requests)
                met = met and wall <= bar
                what = f"{arguments.automations} automations: GET {path}"
                print(f"{what}  {wall:.0f} ms, {cpu:.0f} of CPU, {length:,} bytes; at most {bar:.0f} ms")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    return met


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--automations", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=20)
    sys.exit(0 if main(parser.parse_args()) else 1)
