"""A fork whose child belongs to the parent of this process, which waits for it and outlives this one."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any, Final

from vvwatch.processors.sandbox.system_calls import NUMBERS, last_error

_CLONE_PARENT: Final = 0x8000
_CLONE_CHILD_CLEARTID: Final = 0x200000
_CLONE_CHILD_SETTID: Final = 0x1000000
_PR_GET_TID_ADDRESS: Final = 40

FORK_FLAGS: Final = _CLONE_PARENT | signal.SIGCHLD
"""The flags of the call."""

FORK_FLAGS_WITH_ID: Final = FORK_FLAGS | _CLONE_CHILD_CLEARTID | _CLONE_CHILD_SETTID
"""The flags where the C library keeps the id of a thread."""


def can_fork_sibling() -> bool:
    """Return whether `fork_sibling` works here, and a process can wait for such a child."""
    return sys.platform == "linux" and os.uname().machine in NUMBERS and hasattr(os, "pidfd_open")


def fork_sibling() -> int:
    """Fork; return 0 in the child, and here the child's id. Its parent is the parent of this process.

    This process must have one thread. Raises OSError when the system grants no process.
    """
    api, library = ctypes.pythonapi, ctypes.PyDLL(None, use_errno=True)
    number, address = NUMBERS[os.uname().machine]["clone"], _find_id_address(library)
    # As glibc forks: the child's id is written where the library looks for it. The fourth and the fifth argument
    # change places between architectures, and the thread's storage is not changed without a flag for it.
    flags = FORK_FLAGS_WITH_ID if address else FORK_FLAGS
    arguments = [ctypes.c_long(each) for each in (number, flags, 0, 0, address, address)]
    api.PyOS_BeforeFork()
    pid = int(library.syscall(*arguments))
    if pid == 0:
        api.PyOS_AfterFork_Child()
        return 0
    error = last_error("clone") if pid < 0 else None
    api.PyOS_AfterFork_Parent()
    if error is not None:
        raise error
    return pid


def _find_id_address(library: Any) -> int:
    """Return where glibc keeps the id of this thread, as the kernel knows it; 0 if unknown or with another library."""
    address = ctypes.c_ulong()
    known = "CS_GNU_LIBC_VERSION" in os.confstr_names
    if not known or library.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0):
        return 0
    return address.value
