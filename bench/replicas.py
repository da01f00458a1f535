"""Replicas of the real daemon on one PostgreSQL, over one shared folder, one item at a time each.

Usage: python bench/replicas.py [--clips N] [--seconds N] [--rounds N] [--kills N] [--idle-seconds N]

Speed-up: from the drop of the clips to the end of the last item, by one replica and by three, in turn; beside it the
bare processor in as many processes, which is what the cores allow. Take-over: SIGKILL for the replica that holds an
item, until another has begun it. At rest: share of a core of one replica. All medians, and the best or worst round.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests import samples  # noqa: E402  # found by the line above
from tests.postgres_server import PostgresServer  # noqa: E402

from vvwatch.core.media import RunSettings  # noqa: E402
from vvwatch.ports.processing import Prompt  # noqa: E402
from vvwatch.processors.technical.processor import TECHNICAL_PROMPT, Limits, TechnicalProcessor  # noqa: E402

REPLICAS = 3
HEARTBEAT_SECONDS = 5
LONGEST_SECONDS = 600.0
SECRET_KEY = "YmVuY2htYXJrLWJlbmNobWFyay1iZW5jaG1hcmstMTI="
CONFIG = """
listen = "127.0.0.1:0"
database_url = "{url}"
[node]
name = "${{NODE_NAME}}"
heartbeat = "{heartbeat}s"
[log]
level = "error"
[local]
roots = ["{folder}"]
[processing]
concurrency = 1
[connectors.shared]
type = "local"
path = "{folder}"
shared = true
[indexes.main]
[automations.main]
index = "main"
connector = "shared"
debounce = "1s"
settle = "1s"
scan_interval = "${{SCAN_INTERVAL}}"
prompt = "technical"
"""


class Fleet:
    """Replicas, the folder that they share, and the server that they share."""

    def __init__(self, base: Path, server: PostgresServer) -> None:
        self._base = base
        self._server = server
        self._processes: dict[str, psutil.Popen] = {}
        self._drops = 0
        self.incoming = base / "incoming"
        self.incoming.mkdir()
        self._config = base / "vvwatch.toml"
        self._config.write_text(
            CONFIG.format(url=server.url(), heartbeat=HEARTBEAT_SECONDS, folder=self.incoming)
        )

    def start(self, *names: str, scan_interval: str = "2s") -> None:
        for name in names:
            self._processes[name] = self._spawned(name, scan_interval)
        for name in names:
            assert b"ready" in self._processes[name].stdout.readline()

    def _spawned(self, name: str, scan_interval: str) -> psutil.Popen:
        own = {"NODE_NAME": name, "VVWATCH_STATE_DIR": str(self._base / name), "SCAN_INTERVAL": scan_interval}
        return psutil.Popen(
            [sys.executable, "-m", "vvwatch", "run", "--config", str(self._config)],
            stdout=subprocess.PIPE,
            env={**os.environ, **own, "VVWATCH_SECRET_KEY": SECRET_KEY},
        )

    def stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(60)
        self._processes.clear()

    @contextmanager
    def of(self, count: int) -> Iterator[None]:
        self.start(*(f"node-{number}" for number in range(count)))
        try:
            yield
        finally:
            self.stop()

    def cpu_seconds(self) -> float:
        times = [process.cpu_times() for process in self._processes.values()]
        return sum(each.user + each.system for each in times)

    def drop(self, clip: Path, count: int) -> float:
        """Put copies where they are looked for, all at once; returns when that was."""
        self._drops += 1
        hidden = Path(tempfile.mkdtemp(dir=self._base))
        for number in range(count):
            shutil.copy(clip, hidden / f"{number}.mp4")
        hidden.chmod(0o755)
        hidden.rename(self.incoming / f"drop-{self._drops}")
        return time.monotonic()

    def items(self, columns: str) -> list[Any]:
        return self._server.execute(f"select {columns} from run_items order by id")

    def await_ended(self, count: int) -> float:
        """Wait until there are `count` items in all and none has work left; returns when that was."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while [row["status"] for row in self.items("status")] != ["completed"] * count:
            assert time.monotonic() < deadline, self.items("status, error_message")
            time.sleep(0.05)
        return time.monotonic()

    def kill_the_holder(self, place: int) -> tuple[str, float]:
        """Kill the replica that works at an item; returns its name, and when it died; "" if the item ended before.

        Its child for the item runs beside the warm process that forked it.
        """
        while not (at_work := [name for name, each in self._processes.items() if len(each.children()) > 1]):
            if self.has_ended(place):
                return "", 0.0
        self._processes[at_work[0]].kill()
        return at_work[0], time.monotonic()

    def has_ended(self, place: int) -> bool:
        """Whether the item at `place` is completed."""
        return [row["status"] for row in self.items("status")[place:]] == ["completed"]


def speed(fleet: Fleet, clip: Path, options: argparse.Namespace) -> None:
    whole: dict[int, list[float]] = {1: [], REPLICAS: []}
    items: dict[int, list[float]] = {1: [], REPLICAS: []}
    bare: dict[int, list[float]] = {1: [], REPLICAS: []}
    for _ in range(options.rounds):
        for count in (1, REPLICAS):
            with fleet.of(count):
                before = len(fleet.items("id"))
                dropped = fleet.drop(clip, options.clips)
                whole[count].append(fleet.await_ended(before + options.clips) - dropped)
            done = fleet.items("started_at, completed_at")[before:]
            first, last = min(row["started_at"] for row in done), max(row["completed_at"] for row in done)
            items[count].append(last - first)
            bare[count].append(anyio.run(processed, clip, options.clips, count))
    show("drop to the end of the last item", whole)
    show("first item's start to last one's end", items)
    show("the bare processor in as many processes", bare)


def show(what: str, seconds: dict[int, list[float]]) -> None:
    for title, pick in (("median", statistics.median), ("best", min)):
        one, three = pick(seconds[1]), pick(seconds[REPLICAS])
        times = f"{one:>6.1f} s by 1, {three:>6.1f} s by {REPLICAS}"
        print(f"{what + ', ' + title:<48} {times}: {one / three:>5.2f} times as fast")


async def processed(clip: Path, clips: int, at_once: int) -> float:
    """Seconds that the processor takes for the clips by itself."""
    prompt = Prompt(TECHNICAL_PROMPT["prompt_text"], TECHNICAL_PROMPT["json_schema"], None)
    slots = anyio.CapacityLimiter(at_once)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as work, clip.open("rb") as file:
        processor = TechnicalProcessor(limits=Limits(), work_dir=Path(work))

        async def one() -> None:
            async with slots:
                await processor.measure(file.fileno(), prompt, RunSettings(), lambda _: None)

        async with anyio.create_task_group() as tasks:
            for _ in range(clips):
                tasks.start_soon(one)
    return time.monotonic() - started


def take_over(fleet: Fleet, clip: Path, kills: int) -> None:
    """Kill until so many items were taken over; one that ended just before the kill counts for nothing."""
    seconds: list[float] = []
    with fleet.of(REPLICAS):
        while len(seconds) < kills:
            before = len(fleet.items("id"))
            fleet.drop(clip, 1)
            await_attempts(fleet, before, 1)
            holder, died = fleet.kill_the_holder(before)
            if holder and await_attempts(fleet, before, 2):
                seconds.append(time.monotonic() - died)
            if holder:
                fleet.start(holder)
            fleet.await_ended(before + 1)
    print(
        f"take-over, heartbeat {HEARTBEAT_SECONDS} s, {kills} kills: median {statistics.median(seconds):.1f} s,"
        f" worst {max(seconds):.1f} s"
    )


def await_attempts(fleet: Fleet, place: int, attempts: int) -> bool:
    """Wait until the item at `place` is at work for the nth time; False if it ended before."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while [row["attempts"] for row in fleet.items("attempts")[place:]] != [attempts]:
        assert time.monotonic() < deadline, fleet.items("status, attempts")[place:]
        if fleet.has_ended(place):
            return False
        time.sleep(0.01)
    return True


def rest(fleet: Fleet, seconds: float) -> None:
    fleet.start("node-0", scan_interval="15m")
    time.sleep(min(5.0, seconds))
    before = fleet.cpu_seconds()
    time.sleep(seconds)
    print(f"one replica at rest: share of a core {(fleet.cpu_seconds() - before) / seconds:.2%}")
    fleet.stop()


def main(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(PostgresServer(durable=True))
        fleet = Fleet(base, server)
        stack.callback(fleet.stop)
        clip = samples.video(base / "clip.mp4", options.seconds, size=(1280, 720))
        speed(fleet, clip, options)
        take_over(fleet, clip, options.kills)
        rest(fleet, options.idle_seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--idle-seconds", type=float, default=30)
    main(parser.parse_args())
