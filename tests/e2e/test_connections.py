"""The real daemon among clients that are silent, slow or too many: it answers, it scans, and it logs little."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests import samples
from tests.daemon_process import ADMIN_KEY, Daemon, wait_until

LIMITED = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
runpy.run_module("vvwatch", run_name="__main__", alter_sys=True)
"""
STREAM = "/api/v2/processing/events/stream"
MOST_LOG_BYTES = 200_000


def limited(folder: Path, soft: int, hard: int, extra: str = "") -> Daemon:
    """A daemon that may have so many files open."""
    command = ("-c", LIMITED.format(soft=soft, hard=hard), "run", "--config")
    return Daemon(folder, command=command, warm=False, extra=extra)


@contextmanager
def silent(daemon: Daemon, count: int) -> Iterator[list[socket.socket]]:
    """So many connections that say nothing, as far as they are taken."""
    where = urlsplit(daemon.url)
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            each = stack.enter_context(socket.socket())
            each.settimeout(10)
            each.connect((where.hostname, where.port))
            opened.append(each)
        yield opened


def imported(daemon: Daemon) -> int:
    [(count,)] = daemon.rows("SELECT count(*) FROM media")
    return int(count)


def metric(daemon: Daemon, name: str) -> float:
    request = urllib.request.Request(f"{daemon.url}/metrics", headers={"X-API-Key": ADMIN_KEY})
    with urllib.request.urlopen(request, timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"vvwatch_{name}"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("soft", "hard", "count"), [(256, 4096, 300), (256, 256, 300), (256, 4096, 10_000)])
def test_silent_connections_stop_nothing(tmp_path: Path, soft: int, hard: int, count: int) -> None:
    with limited(tmp_path, soft, hard) as daemon:
        assert daemon.process is not None
        before = psutil.Process(daemon.process.pid).cpu_times()
        with silent(daemon, count):
            began = time.monotonic()
            samples.image(daemon.incoming / "a.png")
            assert daemon.call("GET", "/status")[0] == 200
            wait_until(lambda: imported(daemon) == 1, "the picture is imported", 90)
            assert daemon.is_ready()
            after = psutil.Process(daemon.process.pid).cpu_times()
            lasted = time.monotonic() - began
            assert after.user + after.system - before.user - before.system < 15 + lasted / 2
        assert daemon.call("GET", "/status")[0] == 200
        assert daemon.log.stat().st_size < MOST_LOG_BYTES
        assert daemon.stop() == 0


@pytest.mark.timeout(180)
def test_a_limit_that_is_reached_is_told(tmp_path: Path) -> None:
    with Daemon(tmp_path, extra="\n[api]\nmax_connections = 20\n") as daemon:
        with silent(daemon, 50):
            attention = daemon.get("/status")["attention"]
            assert [each["kind"] for each in attention if each["kind"] == "connections"]
            host = [each for each in daemon.get("/doctor")["findings"] if each["subject"] == "connections"]
            assert [each["state"] for each in host] == ["warning"]
            assert metric(daemon, 'connections_closed_total{reason="made_room"}') >= 30
        closed = daemon.events("connection.closed")
        assert len(closed) <= 3


@pytest.mark.timeout(180)
def test_one_key_cannot_take_all_streams(tmp_path: Path) -> None:
    extra = "\n[api]\nmax_connections = 400\nmax_streams_per_key = 50\n"
    with Daemon(tmp_path, extra=extra) as daemon, ExitStack() as stack:
        _, made = daemon.call("POST", "/api-keys", {"name": "other", "scopes": ["read"]})
        other = stack.enter_context(listening(daemon, made["key"]))
        streams = [stack.enter_context(listening(daemon, ADMIN_KEY)) for _ in range(50)]
        refused = 0
        for _ in range(950):
            with pytest.raises(urllib.error.HTTPError) as found, listening(daemon, ADMIN_KEY):
                pass
            refused += found.value.code == 429
            if refused == 1:
                error = json.loads(found.value.read())["error"]
                assert error["code"] == "too_many_streams"
                assert "max_streams_per_key" in error["details"]["hint"]
            found.value.close()
        assert refused == 950
        samples.image(daemon.incoming / "a.png")
        for stream in (other, streams[0], streams[-1]):
            assert any(b"import_job" in stream.readline() for _ in range(100))
        streams[0].close()
        wait_until(lambda: opens(daemon), "a stream that ends makes room for another")


def listening(daemon: Daemon, key: str) -> urllib.request._UrlopenRet:
    request = urllib.request.Request(daemon.url + STREAM, headers={"X-API-Key": key})
    return urllib.request.urlopen(request, timeout=60)


def opens(daemon: Daemon) -> bool:
    try:
        listening(daemon, ADMIN_KEY).close()
    except urllib.error.HTTPError as error:
        error.close()
        return False
    return True
