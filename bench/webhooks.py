"""Deliveries to a receiver that lives, while many wait for one that hangs: how many a second.

Usage: python bench/webhooks.py [--deliveries N] [--dead N] [--seconds N]

Another process receives and answers at once; the dead receiver takes connections and never says a word. Both webhooks
are told of their events by the transactions of the daemon, on SQLite, and its own engine, sender and signatures deliver
them. Measured is from the first attempt to the last answer, beside the same without a dead receiver. Exits with 1
when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import sqlalchemy as sa

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.fault_proxy import LOOPBACK  # noqa: E402  # found by the line above

from vvwatch.clock import SystemClock  # noqa: E402
from vvwatch.config import load  # noqa: E402
from vvwatch.core.networks import PRIVATE, AddressPolicy  # noqa: E402
from vvwatch.daemon.wiring import Components, build_components  # noqa: E402
from vvwatch.ports import Kind  # noqa: E402
from vvwatch.store.db.database import Tx  # noqa: E402
from vvwatch.store.delivery import webhooks  # noqa: E402
from vvwatch.store.delivery.events import announce  # noqa: E402
from vvwatch.store.delivery.webhooks import WebhookSpec  # noqa: E402
from vvwatch.store.schema import deliveries  # noqa: E402
from vvwatch.telemetry import Telemetry  # noqa: E402

LEAST_PER_SECOND = 300
LEAST_SHARE = 0.8  # of what is delivered without a dead receiver
AT_ONCE = 500

CONFIG = """
[webhooks]
allow_http = true
allow_networks = ["127.0.0.0/8"]
"""

RECEIVER = """
import asyncio, sys

async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 17\\r\\n\\r\\n" + b'{"received":true}')
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@contextmanager
def living() -> Iterator[str]:
    """The address of a receiver that takes all."""
    with subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://{LOOPBACK}:{int(process.stdout.readline())}/hook"
        finally:
            process.kill()


@contextmanager
def hanging() -> Iterator[str]:
    """The address of a receiver that never answers."""
    with socket.create_server((LOOPBACK, 0), backlog=128) as silent:
        yield f"http://{LOOPBACK}:{silent.getsockname()[1]}/hook"


def subscribe(tx: Tx, components: Components, url: str, event_type: str) -> str:
    spec = WebhookSpec(event_type, url, (event_type,))
    return str(webhooks.create(tx, components.box, spec, AddressPolicy(True, PRIVATE))[0].id)


def tell(tx: Tx, event_type: str, numbers: range) -> None:
    for number in numbers:
        data = {"video_id": f"vid_{number}", "status": "ready"}
        announce(tx, event_type, str(number), None, data)


async def told(components: Components, event_type: str, count: int) -> None:
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        await components.database.write(tell, event_type, numbers)


def delivered(tx: Tx, webhook_id: str) -> int:
    wanted = deliveries.c.webhook_id == webhook_id, deliveries.c.status == "delivered"
    return int(tx.execute(sa.select(sa.func.count()).where(*wanted)).scalar_one())


async def rate(options: argparse.Namespace, urls: tuple[str, str], dead: int) -> tuple[float, int]:
    """Deliveries a second to the living receiver, and how many of them there were."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vvwatch.toml"
        path.write_text(CONFIG)
        environ = {"VVWATCH_STATE_DIR": folder}
        components = build_components(load(path, environ), SystemClock(), Telemetry("bench"), environ)
        async with components.database.opened():
            await components.engine.setup()
            alive = await components.database.write(subscribe, components, urls[0], "media.created")
            await components.database.write(subscribe, components, urls[1], "media.processing.failed")
            await told(components, "media.processing.failed", dead)
            await told(components, "media.created", options.deliveries)
            try:
                return await emptied(components, alive, options)
            finally:
                await components.sender.aclose()


async def emptied(components: Components, webhook_id: str, options: argparse.Namespace) -> tuple[float, int]:
    lanes = [lane for lane in components.lanes() if lane.kind is Kind.DELIVERY]
    handlers: Any = {Kind.DELIVERY: components.deliveries.deliver}
    count = 0
    async with anyio.create_task_group() as tasks:
        started = time.perf_counter()
        tasks.start_soon(components.engine.run, handlers, lanes)
        while count < options.deliveries and time.perf_counter() - started < options.seconds:
            await anyio.sleep(0.1)
            count = await components.database.read(delivered, webhook_id)
        took = time.perf_counter() - started
        tasks.cancel_scope.cancel()
    return count / took, count


async def main(options: argparse.Namespace) -> int:
    with living() as alive, hanging() as dead:
        alone, _ = await rate(options, (alive, dead), 0)
        beside, count = await rate(options, (alive, dead), options.dead)
    print(f"deliveries/s, nobody else waits          {alone:>8,.0f}")
    print(f"deliveries/s, beside {options.dead:>7,} that hang    {beside:>8,.0f}   bar {LEAST_PER_SECOND}")
    print(f"share of the first                       {beside / alone:>8.2f}   bar {LEAST_SHARE}")
    print(json.dumps({"alone": round(alone), "beside": round(beside), "delivered": count}))
    return int(beside < LEAST_PER_SECOND or beside < LEAST_SHARE * alone or count < options.deliveries)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--deliveries", type=int, default=5_000)
    parser.add_argument("--dead", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    sys.exit(anyio.run(main, parser.parse_args()))
