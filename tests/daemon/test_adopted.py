"""Process 1 waits for ended processes whose parent is gone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vvwatch.daemon.adopted import Adopted, _ended_children, wait_for_adopted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has containers with a process 1")


@pytest.fixture
def ended() -> int:
    """A child of ours that has ended, and that nobody waits for."""
    pid = os.posix_spawn("/bin/true", ["a) Z (name"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def is_gone(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def test_an_ended_child_is_waited_for_at_the_second_look(ended: int) -> None:
    """At the first look the one who started it may be about to wait for it."""
    adopted = Adopted()
    adopted.look()
    assert not is_gone(ended)
    adopted.look()
    assert is_gone(ended)
    adopted.look()


def test_one_that_its_owner_waits_for_in_between_is_no_error(ended: int) -> None:
    adopted = Adopted()
    adopted.look()
    assert os.waitpid(ended, 0) == (ended, 0)
    adopted.look()


def test_a_child_that_runs_is_left_alone() -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        adopted = Adopted()
        adopted.look()
        adopted.look()
        assert child.pid not in _ended_children()
        assert child.poll() is None


@pytest.mark.anyio
async def test_a_process_that_is_not_the_first_inherits_nothing() -> None:
    await wait_for_adopted()
