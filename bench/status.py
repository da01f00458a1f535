"""The status of a daemon with very many automations, over the API and as the dashboard's first page.

Usage: python bench/status.py [--automations N] [--requests N]

The real daemon as a process; each automation is an index of its own that watches a prefix of one bucket of an emulator
(ministack). All are listed once before the first request. Exits with 1 when a median is above its bar.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
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


def log_in(connection: HTTPConnection) -> str:
    """Begin a session of a browser and return its cookie."""
    connection.request(
        "POST", "/login", urlencode({"key": ADMIN_KEY}), {"Content-Type": "application/x-www-form-urlencoded"}
    )
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 303
    return (answer.getheader("set-cookie") or "").partition(";")[0]


def measure(
    connection: HTTPConnection, path: str, process: psutil.Popen, requests: int
) -> tuple[float, float, int]:
    """Milliseconds and CPU milliseconds of the median answer, and its bytes."""
    times, costs, length = [], [], 0
    headers = {"X-API-Key": ADMIN_KEY} if path.startswith("/api/") else {"Cookie": log_in(connection)}
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
            for path, bar in MOST_MILLISECONDS.items():
                wall, cpu, length = measure(connection, path, process, arguments.requests)
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
