# ruff: noqa: ASYNC220 - files and processes are what is tested
"""A real file system whose inode numbers move and whose locks do not hold: sshfs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.providers.looking import look
from tests.sshfs_server import needs_sshfs, sshfs_server
from vvwatch.clock import SystemClock
from vvwatch.errors import StoreLocked
from vvwatch.mounts import mount_at
from vvwatch.providers.local.filesystems import remote_filesystem
from vvwatch.providers.local.storage import LocalStorage
from vvwatch.store.db import ownership
from vvwatch.store.db.sqlite import SqliteDatabase

pytestmark = [pytest.mark.anyio, needs_sshfs]

OWNER = """
import sys
from pathlib import Path
import anyio
from vvwatch.clock import SystemClock
from vvwatch.store.db import ownership
from vvwatch.store.db.sqlite import SqliteDatabase
ownership.BEAT_SECONDS = 0.2
async def own():
    async with SqliteDatabase(Path(sys.argv[1]), SystemClock()).opened():
        print("owned", flush=True)
        await anyio.sleep(120)
anyio.run(own)
"""


async def versions(root: Path) -> dict[str, str]:
    found, _ = await look(LocalStorage(root, allowed_roots=[root]))
    return {key: obj.version for key, obj in found.items()}


async def test_a_remount_changes_no_version(tmp_path: Path) -> None:
    there, point = tmp_path / "there", tmp_path / "mounted"
    there.mkdir()
    for number in range(5):
        (there / f"{number}.mp4").write_bytes(b"x" * number)
    with sshfs_server(tmp_path) as server:
        with server.mounted(there, point):
            assert remote_filesystem(point) == "fuse.sshfs"
            before = await versions(point)
            inodes = {path.name: path.stat().st_ino for path in point.iterdir()}
        with server.mounted(there, point):
            moved = {name: (point / name).stat().st_ino for name in sorted(inodes, reverse=True)}
            assert moved != inodes
            assert await versions(point) == before
            assert len(before) == 5


async def test_a_second_owner_over_another_mount_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from another machine, whose processes cannot be seen from here."""
    monkeypatch.setattr(ownership, "_lives", lambda _: None)
    there, one, other = tmp_path / "there", tmp_path / "one", tmp_path / "other"
    there.mkdir()
    with sshfs_server(tmp_path) as server, server.mounted(there, one), server.mounted(there, other):
        mount = mount_at(other / "vvwatch.db")
        assert mount is not None
        assert mount.kind == "fuse.sshfs"
        command = [sys.executable, "-c", OWNER, str(one / "vvwatch.db")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
            try:
                assert owner.stdout is not None
                assert owner.stdout.readline() == b"owned\n"
                with pytest.raises(StoreLocked, match=f"another process owns .*: process {owner.pid} on "):
                    async with SqliteDatabase(other / "vvwatch.db", SystemClock()).opened():
                        pass
            finally:
                owner.kill()
        monkeypatch.undo()
        async with SqliteDatabase(other / "vvwatch.db", SystemClock()).opened():
            pass


def test_a_daemon_does_not_start_on_a_network_file_system(tmp_path: Path) -> None:
    """Whether the folder is named by a flag, by the environment or in the file; the service then stays down."""
    (tmp_path / "there").mkdir()
    point = tmp_path / "mounted"
    file = tmp_path / "vvwatch.toml"
    file.write_text(f'listen = "127.0.0.1:0"\nstate_dir = "{point}/state"\n')
    program = Path(sys.executable).parent / "vvwatch"
    with sshfs_server(tmp_path) as server, server.mounted(tmp_path / "there", point):
        for arguments in (
            ("run", "--state-dir", str(point)),
            ("run", "--config", str(file)),
            ("check", "--config", str(file)),
        ):
            command = [str(program), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == os.EX_CONFIG, done.stderr
            assert "lies on fuse.sshfs" in done.stdout + done.stderr
        assert not list(point.iterdir())
