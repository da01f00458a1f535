# ruff: noqa: PLC0415 - each client is a process, and imports what it alone needs
"""Listing a large bucket: ours beside the SDK's own way and obstore, in the same run, on each of the three clouds.

Usage: python bench/listing.py [--keys N] [--rounds N] [--folders N] [--latency-ms N]

A server of its own holds the keys (python bench/list_server.py). Each client is a process that takes key, version,
size and time of every object: `ours` as the daemon lists, in shards, `serial` one page after the other, `sdk` a part of
the keys. CPU is that of the whole process, without what it takes to import and to connect; memory is its peak; blocked
is the longest that a timer of the event loop was kept waiting. Then, where each page takes its time and has a thousand
keys (of Azure's, usually five thousand), all keys in shards against pages one after the other. Shown are the best and
the median round. Exits with 1 when a bar is missed: with a few thousand keys nothing is worth sharding.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from vvwatch.collector import relax_collector
from vvwatch.providers.remote import RemoteStorage
from vvwatch.providers.spool import Spool

HERE = Path(__file__).parent
SERVICES = ("s3", "gcs", "azure")
CLIENTS = ("ours", "serial", "sdk", "obstore")
TIMES_THE_SDK = {"s3": 15.0, "gcs": 3.0, "azure": 30.0}
TIMES_SERIAL = 10.0
MOST_BLOCKED_MS = 20.0
MOST_GROWTH = 1.1
SDK_SHARE = {"s3": 20, "gcs": 1, "azure": 20}
"""An SDK lists this part of the keys: two of them take minutes for all."""

SERIAL_SHARE = 10
"""And this part is listed page after page where each takes its time."""

LEAST_KEYS = 5_000

BEAT_SECONDS = 0.002
SECRET = "c2VjcmV0"  # base64 for Azure

Taken = AsyncGenerator[tuple[int, int]]
"""The number of objects of a page, and the sum of their sizes."""

Listing = Callable[[], Taken]


@dataclass(frozen=True)
class Figures:
    """What one client took for so many keys. `early_mb` is its peak memory after a quarter of them."""

    keys: int
    cpu_seconds: float
    wall_seconds: float
    early_mb: float
    peak_mb: float
    blocked_ms: float


class Pulse:
    """How long the loop kept a timer waiting at most, not counted when other programs had the core."""

    def __init__(self) -> None:
        self.longest_seconds = 0.0
        self._loop = asyncio.get_running_loop()
        self._expect()

    def _expect(self) -> None:
        self._cpu = time.thread_time()
        self._due = self._loop.time() + BEAT_SECONDS
        self._handle = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        late, busy = self._loop.time() - self._due, time.thread_time() - self._cpu
        self.longest_seconds = max(self.longest_seconds, min(late, busy))
        self._expect()

    def stop(self) -> None:
        self._handle.cancel()


def opened(service: str, port: int) -> RemoteStorage:
    spool = Spool(Path(tempfile.gettempdir()), 0)
    endpoint = f"http://127.0.0.1:{port}"
    if service == "s3":
        from vvwatch.providers.s3.storage import S3Credentials, S3Location, S3Storage

        return S3Storage(S3Location("bucket", "us-east-1", endpoint), S3Credentials("id", SECRET), spool)
    if service == "gcs":
        from vvwatch.providers.gcs.storage import GcsLocation, GcsStorage

        return GcsStorage(GcsLocation("bucket", endpoint), None, spool)
    from vvwatch.providers.azure.storage import AzureAccountKey, AzureLocation, AzureStorage

    location = AzureLocation("account", "bucket", f"{endpoint}/account")
    return AzureStorage(location, AzureAccountKey(SECRET), spool)


@asynccontextmanager
async def ours(service: str, port: int, *, serial: bool = False) -> AsyncGenerator[Listing]:
    """As the daemon lists, in shards where there is much; or one page after the other."""
    storage = await anyio.to_thread.run_sync(opened, service, port)

    async def listing() -> Taken:
        pages: Any = storage.pages("") if serial else storage.list("", recursive=True)
        async with aclosing(pages):
            async for page in pages:
                yield len(page.objects), sum([size for _key, _version, size, _at, _, _ in page.objects])

    try:
        yield listing
    finally:
        await storage.aclose()


@asynccontextmanager
async def sdk_s3(port: int) -> AsyncGenerator[Listing]:
    from aiobotocore.session import get_session

    async with get_session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="id",
        aws_secret_access_key=SECRET,
    ) as client:

        async def listing() -> Taken:
            async for page in client.get_paginator("list_objects_v2").paginate(Bucket="bucket"):
                rows = [
                    (each["Key"], each["ETag"], each["Size"], each["LastModified"])
                    for each in page["Contents"]
                ]
                yield len(rows), sum([size for _key, _etag, size, _at in rows])

        yield listing


@asynccontextmanager
async def sdk_gcs(port: int) -> AsyncGenerator[Listing]:
    from gcloud.aio.storage import Storage

    async with Storage(api_root=f"http://127.0.0.1:{port}") as storage:

        async def listing() -> Taken:
            token: dict[str, str] = {}
            while True:
                page = await storage.list_objects("bucket", params=token)
                rows = [
                    (each["name"], each["generation"], int(each["size"]), each["updated"])
                    for each in page["items"]
                ]
                yield len(rows), sum([size for _name, _generation, size, _at in rows])
                if "nextPageToken" not in page:
                    return
                token = {"pageToken": page["nextPageToken"]}

        yield listing


@asynccontextmanager
async def sdk_azure(port: int) -> AsyncGenerator[Listing]:
    from azure.storage.blob.aio import ContainerClient

    key = {"account_name": "account", "account_key": SECRET}
    async with ContainerClient(f"http://127.0.0.1:{port}/account", "bucket", credential=key) as container:

        async def listing() -> Taken:
            async for page in container.list_blobs(results_per_page=5_000).by_page():
                rows = [(each.name, each.etag, each.size, each.last_modified) async for each in page]
                yield len(rows), sum([size for _name, _etag, size, _at in rows])

        yield listing


@asynccontextmanager
async def obstore(service: str, port: int) -> AsyncGenerator[Listing]:
    """Imported by name: it need not be installed."""
    package, stores = importlib.import_module("obstore"), importlib.import_module("obstore.store")
    endpoint, http = f"http://127.0.0.1:{port}", {"allow_http": True}
    if service == "s3":
        keys = {"access_key_id": "id", "secret_access_key": SECRET, "region": "us-east-1"}
        store = stores.S3Store("bucket", endpoint=endpoint, client_options=http, **keys)
    elif service == "gcs":
        store = stores.GCSStore("gcs-bucket", base_url=endpoint, skip_signature=True, client_options=http)
    else:
        keys = {"account_name": "account", "account_key": SECRET, "endpoint": f"{endpoint}/account"}
        store = stores.AzureStore("bucket", client_options=http, **keys)

    async def listing() -> Taken:
        async for page in package.list(store, chunk_size=1_000):
            rows = [(each["path"], each["e_tag"], each["size"], each["last_modified"]) for each in page]
            yield len(rows), sum([size for _path, _etag, size, _at in rows])

    yield listing


def opened_client(service: str, name: str, port: int) -> AbstractAsyncContextManager[Listing]:
    if name == "sdk":
        return {"s3": sdk_s3, "gcs": sdk_gcs, "azure": sdk_azure}[service](port)
    return obstore(service, port) if name == "obstore" else ours(service, port, serial=name == "serial")


def peak_mb() -> float:
    """Of this program alone: what getrusage tells begins with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


async def measured(service: str, name: str, port: int, most: int) -> Figures:
    async with opened_client(service, name, port) as listing:
        async with aclosing(listing()) as pages:
            await anext(pages)
        relax_collector()  # for all clients alike, as the daemon does
        keys, early_mb = 0, 0.0
        pulse, cpu, wall = Pulse(), time.process_time(), time.perf_counter()
        async with aclosing(listing()) as pages:
            async for count, _ in pages:
                keys += count
                if not early_mb and keys >= most / 4:
                    early_mb = peak_mb()
                if keys >= most and name != "ours":  # in shards, some keys come twice
                    break
        took = time.process_time() - cpu, time.perf_counter() - wall
        pulse.stop()
    assert keys >= most, f"only {keys:,} keys came"
    return Figures(
        keys if name != "ours" else most, *took, early_mb, peak_mb(), pulse.longest_seconds * 1_000
    )


@contextmanager
def server(options: argparse.Namespace, *more: str) -> Iterator[int]:
    """The port of one that runs as long as the block."""
    command = [sys.executable, str(HERE / "list_server.py"), "--keys", str(options.keys)]
    command += ["--folders", str(options.folders), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def run(service: str, name: str, port: int, most: int) -> Figures:
    """Raises CalledProcessError when the client fails."""
    command = [sys.executable, __file__, "--client", service, name, str(port), str(most)]
    return Figures(**json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


Rounds = dict[tuple[str, str], list[Figures]]


def share(keys: int, part: int) -> int:
    return min(keys, max(keys // part, LEAST_KEYS))


def throughput(options: argparse.Namespace, clients: Sequence[str]) -> Rounds:
    rounds: Rounds = {(service, name): [] for service in SERVICES for name in clients}
    with server(options) as port:
        for _ in range(options.rounds):
            for service, name in rounds:
                most = share(options.keys, SDK_SHARE[service]) if name == "sdk" else options.keys
                try:
                    rounds[service, name].append(run(service, name, port, most))
                except subprocess.CalledProcessError as error:
                    if name != "obstore":
                        raise
                    print(f"{service:<6} {name:<8} ended with {error.returncode}: left out")
    return rounds


def with_latency(options: argparse.Namespace) -> Rounds:
    rounds: Rounds = {(service, name): [] for service in SERVICES for name in ("ours", "serial")}
    with server(options, "--latency-ms", str(options.latency_ms), "--page-keys", "1000") as port:
        for _ in range(options.rounds):
            for service, name in rounds:
                most = share(options.keys, SERIAL_SHARE) if name == "serial" else options.keys
                rounds[service, name].append(run(service, name, port, most))
    return rounds


def per_cpu(figures: Figures) -> float:
    return figures.keys / figures.cpu_seconds


def per_second(figures: Figures) -> float:
    return figures.keys / figures.wall_seconds


def show(rounds: Rounds) -> None:
    print(f"{'':<15}{'keys per CPU s':>26}{'keys per s':>22}{'peak MB':>18}{'blocked ms':>18}")
    for (service, name), figures in rounds.items():
        if not figures:
            continue
        columns = [[pick(each) for each in figures] for pick in (per_cpu, per_second)]
        line = "".join(f"{max(rates):>14,.0f}{statistics.median(rates):>12,.0f}" for rates in columns)
        memory = [each.peak_mb for each in figures]
        blocked = [each.blocked_ms for each in figures]
        print(
            f"{service:<6} {name:<8}{line}{min(memory):>9.0f}{statistics.median(memory):>6.0f}"
            f"{min(blocked):>11.1f}{statistics.median(blocked):>7.1f}"
        )


def compared(ours: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """How many times as much, of the best rounds and of the median ones."""
    return max(ours) / max(other), statistics.median(ours) / statistics.median(other)


def told(service: str, what: str, best_and_median: tuple[float, float], least: float, most: float) -> bool:
    """Whether the best round meets the bar, and prints it."""
    best, median = best_and_median
    met = least <= best <= most
    bar = f"at least {least:g}" if least else f"at most {most:g}"
    print(f"{service:<6} {what:<44}{best:>8.2f}{median:>8.2f}   {bar:<13} {'met' if met else 'missed'}")
    return met


def all_met(options: argparse.Namespace, rounds: Rounds, slow: Rounds) -> bool:
    print(f"{'':<51}{'best':>8}{'median':>8}")
    return all([met for service in SERVICES for met in bars(options, service, rounds, slow)])  # noqa: C419  # each is told


def bars(options: argparse.Namespace, service: str, rounds: Rounds, slow: Rounds) -> Iterator[bool]:
    ours = rounds[service, "ours"]
    for other, least in (("sdk", TIMES_THE_SDK[service]), ("obstore", 1.0)):
        if theirs := rounds.get((service, other)):
            times = compared([*map(per_cpu, ours)], [*map(per_cpu, theirs)])
            yield told(service, f"keys per CPU second, to those of {other}", times, least, math.inf)
    blocked = [each.blocked_ms for each in ours]
    least_and_median = min(blocked), statistics.median(blocked)
    yield told(service, "loop blocked, ms", least_and_median, 0, MOST_BLOCKED_MS)
    growth = [each.peak_mb / each.early_mb for each in ours]
    least_and_median = min(growth), statistics.median(growth)
    yield told(service, "peak memory, to that after a quarter", least_and_median, 0, MOST_GROWTH)
    shards, serial = ([*map(per_second, slow[service, name])] for name in ("ours", "serial"))
    what = f"in shards to serial, {options.latency_ms:g} ms a page"
    yield told(service, what, compared(shards, serial), TIMES_SERIAL, math.inf)


def main(options: argparse.Namespace) -> None:
    print(f"{options.keys:,} keys in {options.folders} folders; best and median of {options.rounds} rounds")
    clients = [name for name in CLIENTS if name != "obstore" or importlib.util.find_spec(name)]
    if "obstore" not in clients:
        print("obstore is not installed: left out")
    rounds = throughput(options, clients)
    show(rounds)
    slow = with_latency(options)
    print(f"with {options.latency_ms:g} ms a page:")
    show(slow)
    sys.exit(not all_met(options, rounds, slow))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folders", type=int, default=100)
    parser.add_argument("--latency-ms", type=float, default=75)
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        service, name, port, most = given.client
        print(json.dumps(asdict(anyio.run(measured, service, name, int(port), int(most)))))
    else:
        main(given)
