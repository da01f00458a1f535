"""The dashboard's lists with very many rows, and what the dashboard costs in memory and at rest.

Usage: python bench/pages.py [--rows N] [--requests N]

The real daemon as a process, over a database with so many import jobs, files of one job, media, prompt runs, items of
one run, exports and deliveries; a hundredth of them failed. Each list is asked for its first page, for a page in the
middle and for each of its filters. Exits with 1 when a page costs more CPU time than its bar.
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
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import psutil

from vvwatch.api.http.pagination import encode_cursor

MOST_MILLISECONDS: Final = 200.0
MOST_MEBIBYTES: Final = 20.0
ADMIN_KEY: Final = f"sk_live_{'c' * 48}"
REST_SECONDS: Final = 20.0
FORM: Final = "application/x-www-form-urlencoded"


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


def insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    """Insert rows that name the same columns."""
    names = list(rows[0])
    marks = ", ".join(f":{name}" for name in names)
    connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)


def fill(path: Path, rows: int) -> None:
    """Fill the database; a hundredth of everything failed, and needs attention."""
    now, index, numbers = time.time() - 100.0, "idx_main", range(rows)
    ids = [f"{number:026d}" for number in numbers]
    failed = [number % 100 == 0 for number in numbers]
    moments = {"created_at": now, "started_at": now, "completed_at": now}
    prompt = '{"name": "p", "prompt_text": "", "json_schema": {}, "video_level": null}'
    connection = sqlite3.connect(path)
    job = {"index_id": index, "connector_id": "conn_x", "status": "completed", "total_files": 1, **moments}
    jobs = [
        {**job, "id": f"job_{each}", "imported": 1 - bad, "failed": int(bad), "updated_at": now}
        for each, bad in zip(ids, failed, strict=True)
    ]
    jobs[-1] |= {"total_files": rows, "imported": rows - sum(failed), "failed": sum(failed)}
    insert(connection, "import_jobs", jobs)
    owner = f"job_{ids[-1]}"
    insert(
        connection,
        "import_files",
        [
            {
                "job_id": owner,
                "key": f"dailies/{each}.mp4",
                "status": "failed" if bad else "imported",
                "reason": "media_unreadable" if bad else None,
                "message": "no film" if bad else None,
            }
            for each, bad in zip(ids, failed, strict=True)
        ],
    )
    base = {"index_id": index, "connector_id": "conn_x", "title": "a film", "uri": "", "media_type": "video"}
    made = {"created_at": now, "updated_at": now, "import_job_id": owner}
    insert(connection, "media", [{**base, **made, "id": f"vid_{each}", "key": each} for each in ids])
    tally = '{"video": {"total": 1, "completed": 1, "seconds": 4.0}}'
    run = {
        "tally": tally,
        "index_id": index,
        "prompt_id": "prompt_x",
        "prompt": prompt,
        "settings": "{}",
        "executed_by": "bench",
    }
    runs = [
        {
            **run,
            **moments,
            "id": f"run_{each}",
            "status": "completed",
            "failed_items": int(bad),
            "updated_at": now,
        }
        for each, bad in zip(ids, failed, strict=True)
    ]
    insert(connection, "prompt_runs", runs)
    item = {"run_id": f"run_{ids[-1]}", "started_at": now, "completed_at": now, "attempts": 1}
    items = [
        {**item, "media_id": f"vid_{each}", "status": "failed" if bad else "completed"}
        for each, bad in zip(ids, failed, strict=True)
    ]
    insert(connection, "run_items", items)
    export = {"export_type": "index", "target_id": index, "index_id": index, **moments}
    exports = [
        {**export, "id": f"exp_{each}", "status": "failed" if bad else "completed"}
        for each, bad in zip(ids, failed, strict=True)
    ]
    insert(connection, "exports", exports)
    hook = {"id": "wh_x", "name": "hook", "url": "https://example.com", "events": "[]", "secret": b"x"}
    insert(connection, "webhooks", [{**hook, "created_at": now, "updated_at": now}])
    event = {"type": "media.created", "data": "{}", "created_at": now}
    insert(connection, "events", [{**event, "id": f"evt_{each}", "occurrence": each} for each in ids])
    deliveries = [
        {
            "id": f"del_{each}",
            "event_id": f"evt_{each}",
            "webhook_id": "wh_x",
            "status": "failed" if bad else "delivered",
            "error_message": "the receiver answered 500" if bad else None,
            "created_at": now,
            "completed_at": now,
        }
        for each, bad in zip(ids, failed, strict=True)
    ]
    insert(connection, "deliveries", deliveries)
    connection.commit()
    connection.execute("ANALYZE")
    connection.close()


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
    """CPU time so far."""
    return float(sum(process.cpu_times()[:2]))


def measure(
    process: psutil.Process, connection: HTTPConnection, cookie: str, path: str, requests: int
) -> tuple[float, float]:
    """Milliseconds of the median answer, and its CPU milliseconds on average: those a busy host does not change."""
    times, cpu = [], cpu_seconds(process)
    for _ in range(requests):
        began = time.monotonic()
        connection.request("GET", path, headers={"Cookie": cookie})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, (path, answer.status)
        times.append(time.monotonic() - began)
    return statistics.median(times) * 1000, (cpu_seconds(process) - cpu) / requests * 1000


def list_paths(rows: int) -> list[str]:
    """The pages to measure."""
    middle, last = f"{rows // 2:026d}", f"{rows - 1:026d}"

    def after(prefix: str) -> str:
        return f"cursor={encode_cursor(f'{prefix}_{middle}')}"

    paths = ["/", "/attention", "/attention/import_file?reason=media_unreadable"]
    for path, prefix in (("/jobs", "job"), ("/runs", "run"), ("/exports", "exp"), ("/deliveries", "del")):
        paths += [path, f"{path}?{after(prefix)}", f"{path}?show=open", f"{path}?show=attention"]
    job, run = f"/jobs/job_{last}", f"/runs/run_{last}"
    key = encode_cursor(f"dailies/{middle}.mp4")
    paths += ["/media", f"/media?{after('vid')}", job, f"{job}?cursor={key}", f"{job}?status=failed"]
    return [*paths, f"{job}?status=skipped", run, f"{run}?{after('vid')}", f"{run}?only=failed", "/windows"]


def mebibytes(process: psutil.Process) -> float:
    """Resident memory."""
    return float(process.memory_info().rss) / (1 << 20)


def rest(process: psutil.Process) -> float:
    """The share of a core that a daemon uses of which nobody asks anything."""
    spent = cpu_seconds(process)
    time.sleep(REST_SECONDS)
    return (cpu_seconds(process) - spent) / REST_SECONDS


def main(arguments: argparse.Namespace) -> bool:
    """Measure; returns whether all bars are met."""
    met = True
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        config = configure(base)
        stop(start(config))
        fill(base / "state" / "vvwatch.db", arguments.rows)
        daemon = start(config)
        try:
            process = psutil.Process(daemon.pid)
            address = (base / "state" / "address").read_text().strip()
            time.sleep(3)
            before, idle = mebibytes(process), rest(process)
            connection, cookie = log_in(address)
            for path in list_paths(arguments.rows):
                wall, cpu = measure(process, connection, cookie, path, arguments.requests)
                met = met and cpu <= MOST_MILLISECONDS
                bar = f"at most {MOST_MILLISECONDS:.0f} of CPU"
                print(f"{arguments.rows:,} rows: GET {path}  {wall:.0f} ms, {cpu:.0f} of CPU; {bar}")
            grown = mebibytes(process) - before
            met = met and grown <= MOST_MEBIBYTES
            print(f"memory: + {grown:.1f} MiB after all pages; at most {MOST_MEBIBYTES:.0f} MiB")
            print(f"at rest: {idle:.2%} of a core before the first page, {rest(process):.2%} after the last")
        finally:
            stop(daemon)
    return met


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=5)
    sys.exit(0 if main(parser.parse_args()) else 1)
