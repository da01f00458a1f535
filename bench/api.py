"""Requests per second of the API: our connections, with their limits, beside uvicorn's own, in the same run.

Usage: python bench/api.py [--rounds N] [--seconds S] [--clients N]

Both serve the daemon's API over a database of its own, each in a process; clients on kept connections ask one after the
other, round by round. A second pair of columns opens a connection for each request. What counts is requests per CPU
second of the server, which other programs on the machine disturb least. Shown are the medians of all rounds; exits with
1 when ours is below 0.98 of uvicorn's in the first of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import anyio
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vvwatch.clock import SystemClock
from vvwatch.config import load
from vvwatch.daemon.serving import WebServer, bind_socket
from vvwatch.daemon.state import DaemonState, build_app
from vvwatch.daemon.wiring import build_components
from vvwatch.telemetry import Telemetry

KINDS = ("uvicorn", "ours")
PATHS = ("/livez", "/api/v2/webhooks/events")
LEAST = 0.98


@dataclass(frozen=True)
class Figures:
    """What a server answered in one round."""

    per_second: float
    per_cpu_second: float


async def serve(kind: str, folder: Path) -> None:
    """Serve the API until this process is ended; prints the port."""
    file = folder / "vvwatch.toml"
    file.write_text(f'listen = "127.0.0.1:0"\nstate_dir = "{folder}/state"\n')
    components = build_components(load(file, {"HOME": str(folder)}), SystemClock(), Telemetry("bench"), {})
    async with components.database.opened():
        app = build_app(components, DaemonState(components.clock.now(), ready=True), "")
        listener = bind_socket("127.0.0.1", 0)
        print(listener.getsockname()[1], flush=True)
        if kind == "ours":
            async with anyio.create_task_group() as tasks:
                await tasks.start(WebServer(app, listener, None, components.connections).run)
            return
        config = uvicorn.Config(
            app, http=H11Protocol, ws="none", log_config=None, access_log=False, lifespan="off"
        )
        await uvicorn.Server(config).serve(sockets=[listener])


async def answer(reader: asyncio.StreamReader) -> None:
    """Read one answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))


async def ask(port: int, path: str, until: float, *, kept: bool) -> int:
    """Ask one after the other until the monotonic moment `until`; returns how often it was answered."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    count = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        writer.write(request)
        await answer(reader)
        count += 1
        if not kept:
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return count


def cpu_seconds(pid: int) -> float:
    """What a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def round_of(pid: int, port: int, path: str, seconds: float, clients: int, *, kept: bool) -> Figures:
    """Ask one server for so many seconds."""
    cpu, began = cpu_seconds(pid), time.monotonic()
    asking = [ask(port, path, began + seconds, kept=kept) for _ in range(clients)]
    count = sum(await asyncio.gather(*asking))
    return Figures(count / (time.monotonic() - began), count / max(cpu_seconds(pid) - cpu, 0.01))


async def measure(servers: dict[str, tuple[int, int]], options: argparse.Namespace) -> bool:
    """Print all figures; returns whether ours is fast enough."""
    is_fast = True
    for path, kept in [(path, kept) for kept in (True, False) for path in PATHS]:
        found: dict[str, list[Figures]] = {kind: [] for kind in KINDS}
        for number in range(options.rounds + 1):
            for kind in KINDS if number % 2 else reversed(KINDS):
                pid, port = servers[kind]
                figures = await round_of(pid, port, path, options.seconds, options.clients, kept=kept)
                if number:  # the first round warms up
                    found[kind].append(figures)
        ratios = [
            ours.per_cpu_second / theirs.per_cpu_second
            for ours, theirs in zip(found["ours"], found["uvicorn"], strict=True)
        ]
        ratio = statistics.median(ratios)
        connections = "kept connections" if kept else "a connection each"
        for kind in KINDS:
            per_cpu = statistics.median(each.per_cpu_second for each in found[kind])
            wall = statistics.median(each.per_second for each in found[kind])
            print(f"{path}, {connections}, {kind}: {per_cpu:,.0f} /CPU s, {wall:,.0f} /s")
        print(
            f"{path}, {connections}: ours is {ratio:.3f} of uvicorn's ({min(ratios):.3f} to {max(ratios):.3f})"
        )
        is_fast &= ratio >= LEAST or not kept
    return is_fast


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--serve", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        anyio.run(serve, options.serve[0], Path(options.serve[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        processes: dict[str, subprocess.Popen[str]] = {}
        servers: dict[str, tuple[int, int]] = {}
        try:
            for kind in KINDS:
                place = Path(folder) / kind
                place.mkdir()
                command = [sys.executable, __file__, "--serve", kind, str(place)]
                processes[kind] = process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                assert process.stdout is not None
                servers[kind] = process.pid, int(process.stdout.readline())
            is_fast = anyio.run(measure, servers, options)
        finally:
            for process in processes.values():
                process.kill()
                process.wait()
    sys.exit(0 if is_fast else 1)


if __name__ == "__main__":
    main()
