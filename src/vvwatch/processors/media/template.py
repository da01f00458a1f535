"""The process that forks a child for each item: decoders loaded, and no byte of any media ever read.

It reads a line of JSON from its socket, stdin: the parent's id; it answers when it is ready. Each further message names
the working folder of one child, and brings the descriptors of that child's stdin, stdout and stderr, of the media, and
of the output if there is one. The answer has the child's id, and how much memory this process takes, in KiB. Children
belong to the daemon, not to this process.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import resource
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from vvwatch.processors import sandbox
from vvwatch.processors.cloning import fork_sibling
from vvwatch.processors.media import child

_MESSAGE_BYTES: Final = 16_384
_MOST_DESCRIPTORS: Final = 5
_MEDIA: Final = 3
_OUTPUT: Final = 4
_FIRST_TO_GO: Final = "1000"
_PAGE_KIB: Final = resource.getpagesize() >> 10


def main() -> None:
    """Load the decoders, confine this process, and fork until the daemon closes the socket."""
    channel = socket.socket(fileno=0)
    child.die_with_parent(json.loads(channel.recv(_MESSAGE_BYTES))["parent"])
    child.import_modules()
    child.warm_up()
    with suppress(OSError):  # children inherit it, and need no file for it then
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    memory = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    sandbox.confine_template()
    # The collector would touch every object of a child, and each page of it would be copied.
    gc.collect()
    gc.freeze()
    channel.send(b"{}")
    while message := _receive(channel):
        answer = _fork(channel, *message)
        channel.send(json.dumps({**answer, "kib": _read_kib(memory)}).encode())


def _receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next message and its descriptors; None when the daemon has closed the socket."""
    text, fds, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, _MOST_DESCRIPTORS)
    return (json.loads(text), fds) if text else None


def _fork(channel: socket.socket, wanted: dict[str, Any], fds: list[int]) -> dict[str, int]:
    """Fork a child that runs in `wanted["folder"]` with `fds`, and return the answer about it."""
    begun, begins = os.pipe()
    try:
        pid = fork_sibling()
        if pid == 0:
            _run_child(channel, wanted["folder"], fds, begins)
    except OSError as error:
        return {"errno": error.errno or 0}
    finally:
        for fd in (begins, *fds):
            os.close(fd)
    # Until it leads its own session, nobody could end it as a group.
    os.read(begun, 1)
    os.close(begun)
    return {"pid": pid}


def _read_kib(memory: int) -> int:
    """Return the resident memory. The peak that `getrusage` names may be that of the daemon, which started this."""
    return int(os.pread(memory, 256, 0).split()[1]) * _PAGE_KIB


def _run_child(channel: socket.socket, folder: str, fds: Sequence[int], begins: int) -> None:
    """Be the child; never returns. Nothing of this process stays open but `fds`."""
    status = 1
    try:
        os.setsid()
        os.close(begins)
        channel.detach()
        _arrange_descriptors(fds)
        os.chdir(folder)
        _answer()
        status = 0
    except BaseException:  # noqa: BLE001  # it ends here, as an interpreter would end it
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)


def _arrange_descriptors(fds: Sequence[int]) -> None:
    """Give `fds` the numbers from 0 on, and close all others."""
    above = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _MEDIA + 2 * _MOST_DESCRIPTORS) for fd in fds]
    for number, fd in enumerate(above):
        with suppress(OSError):
            os.close(number)
        fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, number)
    os.closerange(len(fds), max(above) + 1)


def _answer() -> None:
    request = json.loads(sys.stdin.buffer.readline())
    request["fd"] = _MEDIA
    if "output" in request:
        request["output"]["fd"] = _OUTPUT
    child.answer_request(request)


if __name__ == "__main__":
    main()
