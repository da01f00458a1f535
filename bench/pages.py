"""The dashboard's pages with very many rows, and what the dashboard costs in memory and at rest.

Usage: python bench/pages.py [--media N] [--jobs N] [--automations N] [--requests N]

The real daemon as a process, over a database with so many media, files of one import job, items of one prompt run and
deliveries, so many jobs, runs and exports, and so many automations with an index each, which are disabled; a hundredth
of all but automations failed. Each list is asked for its first page, for a page in the middle and for each of its
filters. Exits with 1 when the CPU time of the slowest answer of a page in a hundred is above its bar: the time on the
wall is that of a host which others use too.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from itertools import chain
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import psutil

from vvwatch.api.http.pagination import encode_cursor

MOST_MILLISECONDS: Final = 50.0
MOST_MEBIBYTES: Final = 20.0
ADMIN_KEY: Final = f"sk_live_{'c' * 48}"
REST_SECONDS: Final = 20.0
FORM: Final = "application/x-www-form-urlencoded"
INDEX: Final = "idx_main"
WINDOWS: Final = 10
GROUPS: Final = (
    "import_file?reason=media_unreadable",
    "run_item?reason=some_segments_failed",
    "delivery?reason=the+receiver+answered+500&about=wh_x",
)
PRESET: Final = '{"prompt_id": "prompt_technical"}'


def configure(base: Path) -> Path:
    """Write a configuration that watches nothing."""
    path = base / "vvwatch.toml"
    text = f'listen = "127.0.0.1:0"\nstate_dir = "{base / "state"}"\n[log]\nlevel = "error"\n[indexes.main]\n'
    path.write_text(text)
    return path


def start(config: Path) -> subprocess.Popen[bytes]:
    """Start the daemon and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vvwatch", "run", "--config", str(config)],
        env={**os.environ, "VVWATCH_ADMIN_KEY": ADMIN_KEY},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"ready" in process.stdout.readline()
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the daemon."""
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def insert(connection: sqlite3.Connection, table: str, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows that name the same columns."""
    several = iter(rows)
    first = next(several)
    marks = ", ".join(f":{name}" for name in first)
    statement = f"INSERT INTO {table} ({', '.join(first)}) VALUES ({marks})"
    connection.executemany(statement, chain([first], several))


def fill(path: Path, media: int, jobs: int, automations: int) -> None:
    """Fill the database; a hundredth of everything failed, and needs attention."""
    connection = sqlite3.connect(path)
    fill_work(connection, jobs, media)
    fill_pieces(connection, media, f"{jobs - 1:026d}")
    fill_deliveries(connection, media)
    fill_automations(connection, automations)
    connection.commit()
    connection.execute("ANALYZE")
    connection.close()


def number_rows(count: int) -> Iterator[tuple[str, bool]]:
    """The end of each row's id, and whether it failed."""
    return ((f"{number:026d}", number % 100 == 0) for number in range(count))


def fill_work(connection: sqlite3.Connection, jobs: int, media: int) -> None:
    """Jobs, runs and exports; the last job and the last run have all media."""
    now = time.time() - 100.0
    moments = {"created_at": now, "started_at": now, "completed_at": now, "updated_at": now}
    job = {"index_id": INDEX, "connector_id": "conn_x", "status": "completed", **moments}
    run = {
        "tally": '{"video": {"total": 1, "completed": 1, "seconds": 4.0}}',
        "index_id": INDEX,
        "prompt_id": "prompt_x",
        "prompt": '{"name": "p", "prompt_text": "", "json_schema": {}, "video_level": null}',
        "settings": "{}",
        "executed_by": "bench",
        "status": "completed",
        **moments,
    }
    export = {"export_type": "index", "target_id": INDEX, "index_id": INDEX, **moments}
    all_jobs = [
        {**job, "id": f"job_{each}", "total_files": 1, "imported": 1 - bad, "failed": int(bad)}
        for each, bad in number_rows(jobs)
    ]
    all_jobs[-1] |= {"total_files": media, "imported": media - media // 100, "failed": media // 100}
    runs = [{**run, "id": f"run_{each}", "failed_items": int(bad)} for each, bad in number_rows(jobs)]
    runs[-1] |= {"failed_items": media // 100}
    exports = [
        {**export, "id": f"exp_{each}", "status": "failed" if bad else "completed"}
        for each, bad in number_rows(jobs)
    ]
    insert(connection, "import_jobs", all_jobs)
    insert(connection, "prompt_runs", runs)
    insert(connection, "exports", exports)


def fill_pieces(connection: sqlite3.Connection, count: int, last: str) -> None:
    """Files of the last job, their media, and the items of the last run."""
    now = time.time() - 100.0
    film: dict[str, object] = {
        "index_id": INDEX,
        "connector_id": "conn_x",
        "title": "a film",
        "uri": "",
        "media_type": "video",
    }
    film |= {"created_at": now, "updated_at": now, "import_job_id": f"job_{last}"}
    item = {"run_id": f"run_{last}", "started_at": now, "completed_at": now, "attempts": 1}
    files = (
        {
            "job_id": f"job_{last}",
            "key": f"dailies/{each}.mp4",
            "status": "failed" if bad else "imported",
            "reason": "media_unreadable" if bad else None,
            "message": "no film" if bad else None,
        }
        for each, bad in number_rows(count)
    )
    insert(connection, "import_files", files)
    media = ({**film, "id": f"vid_{each}", "key": each} for each, _ in number_rows(count))
    insert(connection, "media", media)
    items = (
        {**item, "media_id": f"vid_{each}", "status": "failed" if bad else "completed"}
        for each, bad in number_rows(count)
    )
    insert(connection, "run_items", items)


def fill_deliveries(connection: sqlite3.Connection, count: int) -> None:
    """Deliveries of as many events to one webhook."""
    now = time.time() - 100.0
    hook = {"id": "wh_x", "name": "hook", "url": "https://example.com", "events": "[]", "secret": b"x"}
    insert(connection, "webhooks", [{**hook, "created_at": now, "updated_at": now}])
    event = {"type": "media.created", "data": "{}", "created_at": now}
    events = ({**event, "id": f"evt_{each}", "occurrence": each} for each, _ in number_rows(count))
    insert(connection, "events", events)
    deliveries = (
        {
            "id": f"del_{each}",
            "event_id": f"evt_{each}",
            "webhook_id": "wh_x",
            "status": "failed" if bad else "delivered",
            "error_message": "the receiver answered 500" if bad else None,
            "created_at": now,
            "completed_at": now,
        }
        for each, bad in number_rows(count)
    )
    insert(connection, "deliveries", deliveries)


def fill_automations(connection: sqlite3.Connection, count: int) -> None:
    """Automations over one folder that nobody scans: each has an index, a closed window and an export automation."""
    made = {"created_at": 1.0, "updated_at": 1.0}
    folder = {"id": "conn_x", "name": "folder", "provider": "local", "settings": '{"root": "/nowhere"}'}
    insert(connection, "connectors", [{**folder, **made, "scopes": '["import", "export"]'}])
    numbered = [each for each, _ in number_rows(count)]
    indexes = ({"id": f"idx_{each}", "name": f"channel {each}", "created_at": 1.0} for each in numbered)
    insert(connection, "indexes", indexes)
    scopes = ({"id": int(each) + 1, "index_id": f"idx_{each}", "connector_id": "conn_x"} for each in numbered)
    insert(connection, "ledger_scopes", scopes)
    times = {"quiet_seconds": 600.0, "max_wait_seconds": 9000.0, "scan_seconds": 60.0, "settle_seconds": 5.0}
    watched = {"connector_id": "conn_x", "paused": 1, "generation": 1, "max_objects": 1000, **times, **made}
    automations = (
        {
            **watched,
            "id": f"auto_{each}",
            "index_id": f"idx_{each}",
            "scope_id": int(each) + 1,
            "source_prefix": f"channels/{each}",
            "prompt_preset": PRESET,
        }
        for each in numbered
    )
    insert(connection, "import_automations", automations)
    window: dict[str, object] = {
        "state": "closed",
        "opened_at": 1.0,
        "closed_at": 2.0,
        "due_at": 2.0,
        "object_count": 7,
    }
    windows = (
        {**window, "id": f"win_{job}", "automation_id": f"auto_{each}", "import_job_id": f"job_{job:026d}"}
        for each in numbered
        for job in range(int(each) * WINDOWS, (int(each) + 1) * WINDOWS)
    )
    insert(connection, "windows", windows)


def log_in(address: str) -> tuple[HTTPConnection, str]:
    """Connect and log in; returns the connection and its cookie."""
    parts = urlsplit(address)
    assert parts.hostname
    connection = HTTPConnection(parts.hostname, parts.port, timeout=60)
    headers = {"Content-Type": FORM, "Origin": address}
    connection.request("POST", "/login", urlencode({"key": ADMIN_KEY, "next": "/"}), headers)
    answer = connection.getresponse()
    answer.read()
    return connection, (answer.getheader("Set-Cookie") or "").partition(";")[0]


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time so far, of all threads; the kernel counts it in nanoseconds there, elsewhere in hundredths."""
    spent = 0
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        with suppress(FileNotFoundError):  # it has ended
            spent += int((thread / "schedstat").read_text().split()[0])
    return spent / 1e9


def measure(
    process: psutil.Process, connection: HTTPConnection, cookie: str, path: str, requests: int
) -> tuple[float, float]:
    """CPU milliseconds of an answer: the median, and the slowest of a hundred."""
    spent = []
    for _ in range(requests):
        before = cpu_seconds(process)
        connection.request("GET", path, headers={"Cookie": cookie})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, (path, answer.status)
        spent.append((cpu_seconds(process) - before) * 1000)
    spent.sort()
    return statistics.median(spent), spent[-1 - requests // 100]


def list_paths(media: int, jobs: int) -> list[str]:
    """The pages to measure."""
    middle, last = f"{media // 2:026d}", f"{jobs - 1:026d}"
    paths = [
        "/",
        "/?q=channel",
        "/?q=000777",
        "/?show=paused&page=9",
        "/attention",
        "/automations",
        "/connectors",
    ]
    paths += [f"/attention/{group}" for group in GROUPS]
    for path, prefix, count in (
        ("/jobs", "job", jobs),
        ("/runs", "run", jobs),
        ("/exports", "exp", jobs),
        ("/deliveries", "del", media),
    ):
        after = f"cursor={encode_cursor(f'{prefix}_{count // 2:026d}')}"
        paths += [path, f"{path}?{after}", f"{path}?show=open", f"{path}?show=attention"]
    job, run = f"/jobs/job_{last}", f"/runs/run_{last}"
    key, film = encode_cursor(f"dailies/{middle}.mp4"), f"cursor={encode_cursor(f'vid_{middle}')}"
    paths += ["/media", f"/media?{film}", job, f"{job}?cursor={key}", f"{job}?status=failed"]
    paths += [f"{job}?status=skipped", run, f"{run}?{film}", f"{run}?only=failed", "/windows"]
    return [*paths, f"/automations/auto_{7:026d}", f"/media/vid_{middle}", "/connectors/conn_x"]


def mebibytes(process: psutil.Process) -> float:
    """Resident memory."""
    return float(process.memory_info().rss) / (1 << 20)


def rest(process: psutil.Process) -> float:
    """The share of a core that a daemon uses of which nobody asks anything."""
    spent = cpu_seconds(process)
    time.sleep(REST_SECONDS)
    return (cpu_seconds(process) - spent) / REST_SECONDS


def wait_for_rest(process: psutil.Process) -> None:
    """Wait for the work of a first start, such as making media searchable; a million take longer than this waits."""
    for _ in range(24):
        spent = cpu_seconds(process)
        time.sleep(5)
        if 0 <= cpu_seconds(process) - spent < 0.25:
            return
    print("the daemon does not come to rest: the figures hold its other work, too")


def main(arguments: argparse.Namespace) -> bool:
    """Measure; returns whether all bars are met."""
    met = True
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        config = configure(base)
        stop(start(config))
        fill(base / "state" / "vvwatch.db", arguments.media, arguments.jobs, arguments.automations)
        daemon = start(config)
        try:
            process = psutil.Process(daemon.pid)
            address = (base / "state" / "address").read_text().strip()
            wait_for_rest(process)
            before, idle = mebibytes(process), rest(process)
            connection, cookie = log_in(address)
            for path in list_paths(arguments.media, arguments.jobs):
                median, slow = measure(process, connection, cookie, path, arguments.requests)
                met = met and slow <= MOST_MILLISECONDS
                bar = f"{slow:.0f} in one of a hundred; at most {MOST_MILLISECONDS:.0f}"
                print(f"GET {path}  {median:.0f} ms of CPU, {bar}", flush=True)
            grown = mebibytes(process) - before
            met = met and grown <= MOST_MEBIBYTES
            print(f"memory: + {grown:.1f} MiB after all pages; at most {MOST_MEBIBYTES:.0f} MiB")
            print(f"at rest: {idle:.2%} of a core before the first page, {rest(process):.2%} after the last")
        finally:
            stop(daemon)
    return met


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--media", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--automations", type=int, default=1_000)
    parser.add_argument("--requests", type=int, default=100)
    sys.exit(0 if main(parser.parse_args()) else 1)
