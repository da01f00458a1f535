"""A folder of this machine, mounted again over sshfs; only where sshfs, sshd, FUSE and root are there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SSHD = Path("/usr/sbin/sshd")
_PATIENCE_SECONDS = 20.0


def missing() -> str:
    """What a mount over sshfs lacks here; empty when nothing."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/dev/fuse").exists():
        return "needs FUSE"
    tools = [name for name in ("sshfs", "ssh-keygen", "umount") if shutil.which(name) is None]
    return f"needs {', '.join(tools)}" if tools else "" if _SSHD.exists() else "needs sshd"


needs_sshfs = pytest.mark.skipif(bool(missing()), reason=f"sshfs: {missing()}")


class SshfsServer:
    """Serves folders to this machine alone, by keys in `work`."""

    def __init__(self, work: Path, port: int) -> None:
        self._work = work
        self._port = port

    @contextmanager
    def mounted(self, folder: Path, point: Path) -> Iterator[None]:
        """`folder` at `point`, over the network."""
        point.mkdir(exist_ok=True)
        options = f"IdentityFile={self._work / 'key'},StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null"
        command = ["sshfs", "-p", str(self._port), "-o", options, f"root@127.0.0.1:{folder}", str(point)]
        until = time.monotonic() + _PATIENCE_SECONDS
        while (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
            assert time.monotonic() < until, done.stderr
            time.sleep(0.1)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(point)], check=True, capture_output=True)


@contextmanager
def sshfs_server(work: Path) -> Iterator[SshfsServer]:
    """A server that keeps its keys in the folder `work`."""
    for name in ("host", "key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / name)]
        subprocess.run(command, check=True)
    shutil.copy(work / "key.pub", work / "allowed")
    Path("/run/sshd").mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "ListenAddress": "127.0.0.1",
        "HostKey": work / "host",
        "AuthorizedKeysFile": work / "allowed",
        "StrictModes": "no",
        "PidFile": "none",
        "Subsystem": "sftp internal-sftp",
        "PermitRootLogin": "yes",
        "UsePAM": "no",
    }
    options = [text for name, value in settings.items() for text in ("-o", f"{name}={value}")]
    log = ["-E", str(work / "log")]
    with subprocess.Popen([str(_SSHD), "-D", "-f", "/dev/null", "-p", str(port), *options, *log]) as server:
        try:
            yield SshfsServer(work, port)
        finally:
            server.terminate()
