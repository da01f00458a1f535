"""What the operating system says it lacks is told from what a file or a store is to blame for."""

from __future__ import annotations

import errno
import os

import pytest

from vvwatch.core import shortages
from vvwatch.core.shortages import find_remedy, own_shortage, shortage_in, start_failed
from vvwatch.errors import MachineShortage, SpoolFull, StorageUnavailable


def of(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "what", "cure"),
    [
        (errno.EMFILE, "this process has no file descriptor left", "LimitNOFILE"),
        (errno.ENFILE, "this machine has no file descriptor left", "fs.file-max"),
        (errno.EAGAIN, "no further process or thread", "TasksMax"),
        (errno.ENOMEM, "no memory left", "MemoryMax"),
        (errno.ENOSPC, "no room left", "state_dir"),
        (errno.EDQUOT, "quota", "quota"),
        (errno.EROFS, "read-only", "remount"),
        (errno.EACCES, "does not start the daemon's own processes", "noexec"),
    ],
)
def test_each_lack_is_named_with_what_helps(number: int, what: str, cure: str) -> None:
    shortage = start_failed(of(number), "/usr/bin/python")

    assert what in shortage.message
    assert os.strerror(number) in shortage.message
    assert cure in shortage.hint
    assert find_remedy(shortage.code, shortage.message) == shortage.hint
    assert shortage.transient


def test_a_shortage_is_found_behind_what_it_led_to() -> None:
    away = StorageUnavailable("no connection")
    away.__context__ = of(errno.EMFILE)
    for error in (away, ExceptionGroup("", [ValueError(), away]), MemoryError(), of(errno.ENFILE)):
        assert isinstance(shortage_in(error), MachineShortage)
    assert shortage_in(RuntimeError("can't start new thread")) is not None
    full = SpoolFull("the spool is full")
    assert shortage_in(full) is full


@pytest.mark.parametrize("error", [of(errno.ENOSPC), of(errno.EAGAIN), of(errno.EIO), RuntimeError("bug")])
def test_what_may_be_a_stores_or_a_bug_is_no_shortage(error: Exception) -> None:
    """A full disk may be an export's destination, and a file that is leased cannot be opened "now"."""
    assert shortage_in(error) is None


def test_of_our_own_files_a_full_disk_is_one() -> None:
    assert own_shortage(of(errno.ENOSPC)) is not None
    assert own_shortage(of(errno.EIO)) is None


def test_what_the_operator_reads_about_the_spool_names_its_option() -> None:
    assert "spool_bytes" in find_remedy(SpoolFull.code, "the spool is full: 1 of 1 bytes are taken")
    assert find_remedy(MachineShortage.code, "of a newer version") == "vvwatch doctor"


def test_only_who_was_killed_is_suspected() -> None:
    assert shortages.report_killed().is_suspect
    assert not shortages.too_busy("x").is_suspect
    assert not start_failed(of(errno.EMFILE), "x").is_suspect
