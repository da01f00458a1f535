# ruff: noqa: ASYNC240 - the folder is changed behind the source's back
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest
import watchfiles

from tests.providers.local.witness import Witness, until
from vvwatch.errors import StorageUnavailable
from vvwatch.providers.local.root import Root

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent
PROJECT = HERE.parents[2]
IN_NAMESPACE = ["unshare", "--user", "--map-root-user"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: what is tested is not the disk."""
    parent = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path("/tmp")
    folder = parent / f"vvwatch-test-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


async def written_by(processes: int, folder: Path, count: int, shape: str) -> set[str]:
    """Have files made by that many processes at once; returns the keys of all."""
    async with anyio.create_task_group() as tasks:
        for number in range(processes):
            writer = [sys.executable, str(HERE / "writer.py"), str(folder), f"w{number}", str(count), shape]
            tasks.start_soon(anyio.run_process, writer)
    return {
        (f"w{writer}/{number % 10}/{number}/" if shape == "nested" else "") + f"w{writer}-{number}.mp4"
        for writer in range(processes)
        for number in range(count)
    }


# What is lost elsewhere


async def test_nest_2000(memory: Path) -> None:
    witness = Witness(memory)
    async with witness.watching():
        expected = await written_by(4, memory, 500, "nested")
        await until(lambda: len(witness.seen) >= 2_000)
    assert set(witness.seen) == expected


async def test_mv_tree(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for number in range(40):
        (outside / f"{number % 8}" / "deep").mkdir(parents=True, exist_ok=True)
        (outside / f"{number % 8}" / "deep" / f"{number}.mp4").touch()
    witness = Witness(root)
    async with witness.watching():
        outside.rename(root / "in")
        await until(lambda: len(witness.seen) == 40)
        (root / "in" / "3" / "deep" / "late.mp4").touch()
        await until(lambda: "in/3/deep/late.mp4" in witness.seen)


@pytest.mark.timeout(180)
async def test_flood_320k(memory: Path) -> None:
    witness = Witness(memory)
    async with witness.watching():
        expected = await written_by(8, memory, 40_000, "flat")
        await until(lambda: len(witness.seen) >= len(expected), 120)
    assert set(witness.seen) == expected


def test_an_overflow_during_a_standstill_is_made_good(memory: Path) -> None:
    """More happens while the process is stopped than the kernel's queue holds."""
    command = [sys.executable, "-m", "tests.providers.local.stopped", str(memory), "20000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT) as watcher:
        assert watcher.stdin
        assert watcher.stdout
        assert watcher.stdout.readline() == b"watching\n"
        watcher.send_signal(signal.SIGSTOP)
        for number in range(20_000):
            os.close(os.open(f"{memory}/{number}.mp4", os.O_WRONLY | os.O_CREAT))
        watcher.send_signal(signal.SIGCONT)
        came_to = json.loads(watcher.stdout.readline())
    assert came_to["seen"] == 20_000
    assert came_to["hinted"] < 20_000
    assert came_to["state"] == "healthy"


def told_by(script: str, *arguments: str, prefix: Sequence[str] = ()) -> dict[str, Any]:
    """What a script beside this file prints as JSON."""
    command = [*prefix, sys.executable, "-m", f"tests.providers.local.{script}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT, timeout=50)
    assert done.returncode == 0, done.stderr
    came_to: dict[str, Any] = json.loads(done.stdout)
    return came_to


def test_eadir_eacces_blinds_no_neighbour_and_is_watched_once_it_can_be_read(memory: Path) -> None:
    memory.chmod(0o777)
    came_to = told_by("denied_source", str(memory))
    assert came_to["state"] == "healthy"
    assert came_to["irregular"] == ["closed"]
    assert came_to["seen"] == [
        *("closed/after.mp4", "closed/before.mp4", "closed/late.mp4"),
        *("new/late.mp4", "open/after.mp4", "open/before.mp4"),
    ]


def test_max_watches_20(root: Path) -> None:
    namespaced = subprocess.run([*IN_NAMESPACE, "true"], check=False, capture_output=True).returncode == 0
    if namespaced:
        came_to = told_by("starving", str(root), "namespace", prefix=IN_NAMESPACE)
    else:
        came_to = told_by("starving", str(root), "here")
    assert came_to["before"] == "healthy"
    assert came_to["at_start"] == "degraded"
    assert "of 41 folders cannot be watched" in came_to["reason"]
    assert came_to["hint"].startswith("sudo sysctl fs.inotify.max_user_watches=")
    assert 0 < came_to["hinted"] <= (39 if namespaced else 40)


async def test_without_an_inotify_instance_it_is_listed_from_time_to_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("Error creating recommended watcher: Too many open files (os error 24)")

    (root / "a.mp4").touch()
    witness = Witness(root)
    with monkeypatch.context() as patch:
        patch.setattr(watchfiles, "watch", refuse)
        async with witness.watching():
            await until(lambda: "a.mp4" in witness.seen)
            assert witness.source.health.state == "degraded"
            assert "max_user_instances" in witness.source.health.hint
            patch.undo()
            await until(lambda: witness.source.health.state == "healthy")


async def test_bad_name(root: Path) -> None:
    witness = Witness(root)
    async with witness.watching():
        os.close(os.open(os.fsencode(root) + b"/\xff.mp4", os.O_CREAT | os.O_WRONLY, 0o644))
        Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")).mkdir()
        await until(lambda: {found.key for found in witness.irregular} == {"\\xff.mp4", "caf\\xe9/"})
        (root / "good.mp4").touch()
        await until(lambda: "good.mp4" in witness.seen)


async def test_symlink_loop(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (root / "loop").symlink_to(root)
    (root / "out").symlink_to(tmp_path / "outside")
    witness = Witness(root)
    async with witness.watching():
        (tmp_path / "outside" / "alias.mp4").touch()
        (root / "real.mp4").touch()
        await until(lambda: "real.mp4" in witness.hinted)
        assert set(witness.seen) == {"real.mp4"}


async def test_rename_into_place(root: Path) -> None:
    witness = Witness(root)
    async with witness.watching():
        (root / ".clip.mp4.part").write_bytes(b"x")
        (root / ".clip.mp4.part").rename(root / "clip.mp4")
        await until(lambda: "clip.mp4" in witness.hinted)
        assert witness.hinted == {"clip.mp4"}


async def test_rsync_dash_t(root: Path, tmp_path: Path) -> None:
    """A time set after the last write is told as well: it makes another version."""
    witness = Witness(root)
    (root / "old.mp4").write_bytes(b"x")
    async with witness.watching():
        os.utime(root / "old.mp4", (1_000_000, 1_000_000))
        await until(lambda: "old.mp4" in witness.hinted)


async def test_rsync_temp_never_shows(root: Path) -> None:
    witness = Witness(root)
    async with witness.watching():
        (root / ".~tmp~").mkdir()
        (root / ".~tmp~" / "clip.mp4").touch()
        (root / ".clip.mp4.AbC123").touch()
        (root / "clip.mp4").touch()
        await until(lambda: "clip.mp4" in witness.hinted)
        assert set(witness.seen) == {"clip.mp4"}
        assert witness.rescans == [""]


async def test_slow_writer_8s_is_told_of_at_the_start_and_at_the_end(root: Path) -> None:
    witness = Witness(root)
    async with witness.watching():
        with (root / "slow.mp4").open("wb") as file:
            await until(lambda: "slow.mp4" in witness.hinted)
            witness.hinted.clear()
            file.write(b"x")
        await until(lambda: "slow.mp4" in witness.hinted)


async def test_a_hard_link_into_the_folder_is_told_of(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.mp4").touch()
    witness = Witness(root)
    async with witness.watching():
        (root / "linked.mp4").hardlink_to(tmp_path / "outside.mp4")
        await until(lambda: "linked.mp4" in witness.hinted)


async def test_overwritten_and_odd_names_are_told_of_as_they_are(root: Path) -> None:
    odd = {"a+b", "%2F", "a b", "#", "?", "caf\u00e9", "cafe\u0301", "\U0001f3ac", "new\nline"}
    for name in odd:
        (root / name).touch()
    witness = Witness(root)
    async with witness.watching():
        for name in odd:
            (root / name).write_bytes(b"other")
        await until(lambda: witness.hinted == odd)


# Folders that move, close and go


async def test_a_renamed_folder_speaks_under_its_new_name(root: Path) -> None:
    (root / "old" / "deep").mkdir(parents=True)
    witness = Witness(root)
    async with witness.watching():
        (root / "old").rename(root / "new")
        await until(lambda: "new/" in witness.rescans)
        (root / "new" / "deep" / "a.mp4").touch()
        await until(lambda: "new/deep/a.mp4" in witness.hinted)
        (root / "old").mkdir()
        await until(lambda: "old/" in witness.rescans)
        (root / "old" / "b.mp4").touch()
        await until(lambda: "old/b.mp4" in witness.hinted)
    assert witness.hinted == {"new/deep/a.mp4", "old/b.mp4"}


async def test_a_folder_moved_out_is_heard_of_no_more(root: Path, tmp_path: Path) -> None:
    (root / "dir").mkdir()
    witness = Witness(root)
    async with witness.watching():
        (root / "dir").rename(tmp_path / "dir")
        (root / "mark.mp4").touch()
        await until(lambda: "mark.mp4" in witness.hinted)
        (tmp_path / "dir" / "outside.mp4").touch()
        (root / "last.mp4").touch()
        await until(lambda: "last.mp4" in witness.hinted)
    assert witness.hinted == {"mark.mp4", "last.mp4"}


@pytest.mark.parametrize("gone", ["moved", "removed"])
async def test_unmount_mid_run(root: Path, tmp_path: Path, gone: str) -> None:
    witness = Witness(root)
    async with witness.watching():
        if gone == "moved":
            root.rename(tmp_path / "away")
        else:
            root.rmdir()
        await until(lambda: witness.source.health.state == "failed")
        assert "is not there" in witness.source.health.reason
        assert witness.source.health.hint
        witness.rescans.clear()
        (tmp_path / "return" / "sub").mkdir(parents=True)
        (tmp_path / "return" / "sub" / "meanwhile.mp4").touch()
        (tmp_path / "return").rename(root)
        await until(lambda: "sub/meanwhile.mp4" in witness.seen)
        assert witness.source.health.state == "healthy"
        (root / "sub" / "later.mp4").touch()
        await until(lambda: "sub/later.mp4" in witness.hinted)


async def test_a_root_that_is_removed_and_made_again_at_once_is_watched(root: Path) -> None:
    """Even if the new folder has the inode number of the old one."""
    witness = Witness(root)
    async with witness.watching():
        root.rmdir()
        root.mkdir()
        (root / "a.mp4").touch()
        await until(lambda: "a.mp4" in witness.seen)
        (root / "b.mp4").touch()
        await until(lambda: "b.mp4" in witness.hinted)


async def test_another_folder_in_the_roots_place_is_noticed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when something is mounted over it, or a folder above it is renamed: no event tells."""
    monkeypatch.setattr("vvwatch.providers.local.source._PATROL_SECONDS", 0.2)
    above = tmp_path / "above"
    (above / "root").mkdir(parents=True)
    witness = Witness(above / "root")
    async with witness.watching():
        above.rename(tmp_path / "elsewhere")
        (above / "root").mkdir(parents=True)
        (above / "root" / "a.mp4").touch()
        await until(lambda: "a.mp4" in witness.seen)


async def test_a_root_that_is_absent_at_first_is_watched_once_it_is_there(root: Path) -> None:
    root.rmdir()
    witness = Witness(root)
    async with witness.watching():
        assert witness.source.health.state == "failed"
        root.mkdir()
        await until(lambda: witness.source.health.state == "healthy")
        (root / "a.mp4").touch()
        await until(lambda: "a.mp4" in witness.seen)


def test_a_folder_that_a_unit_does_not_see_names_the_restart(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below /home the unit has a namespace made at its start: what is mounted later never gets there."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with pytest.raises(StorageUnavailable) as by_hand:
        Root(root / "absent")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    with pytest.raises(StorageUnavailable) as in_a_unit:
        Root(root / "absent")
    assert "systemctl" not in by_hand.value.hint
    assert "systemctl restart vvwatch" in in_a_unit.value.hint


async def test_folders_that_systems_keep_for_themselves_are_not_watched(root: Path) -> None:
    (root / "@eaDir" / "a.mp4").mkdir(parents=True)
    witness = Witness(root)
    async with witness.watching():
        (root / "@eaDir" / "a.mp4" / "SYNO.mp4").touch()
        (root / "#recycle").mkdir()
        (root / "#recycle" / "late.mp4").touch()
        (root / "before.mp4").touch()
        await until(lambda: "before.mp4" in witness.hinted)
        (root / "before.mp4").rename(root / "#recycle" / "before.mp4")
        (root / "shoot").mkdir()
        (root / "shoot" / "a.mp4").touch()
        await until(lambda: "shoot/a.mp4" in witness.seen)
        (root / "shoot").rename(root / "#recycle" / "shoot")
        (root / "#recycle" / "shoot" / "b.mp4").touch()
        (root / "last.mp4").touch()
        await until(lambda: "last.mp4" in witness.hinted)
    assert not [key for key in {*witness.seen, *witness.hinted} if "#" in key or "@" in key]
    assert not [prefix for prefix in witness.rescans if "#" in prefix]


async def test_the_safety_sweep_comes_again_and_again(root: Path) -> None:
    witness = Witness(root, sweep_seconds=0.2)
    async with witness.watching():
        await until(lambda: witness.rescans.count("") >= 4)


async def test_a_remote_filesystem_is_listed_often_and_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.local.source.remote_filesystem", lambda _: "nfs4")
    witness = Witness(root, polling_seconds=0.2)
    async with witness.watching():
        await until(lambda: witness.rescans.count("") >= 3)
        assert witness.source.health.state == "degraded"
        assert "nfs4" in witness.source.health.reason


# Behaviour as a task


async def test_it_ends_at_once_when_cancelled(root: Path) -> None:
    witness = Witness(root)
    async with witness.watching():
        began = time.monotonic()
    assert time.monotonic() - began < 3


async def test_a_slow_listener_loses_nothing(memory: Path) -> None:
    witness = Witness(memory)
    notice = witness.notice

    async def slowly(hint: object) -> None:
        await anyio.sleep(0.2)
        await notice(hint)  # type: ignore[arg-type]

    witness.notice = slowly  # type: ignore[method-assign]
    async with witness.watching():
        expected = await written_by(1, memory, 3_000, "flat")
        await until(lambda: set(witness.seen) == expected)


async def test_twenty_folders_fit_into_one_process(tmp_path: Path) -> None:
    """What they cost at rest is for bench/folder.py to say."""
    witnesses = []
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            (tmp_path / f"{number}").mkdir()
            witnesses.append(Witness(tmp_path / f"{number}"))
            tasks.start_soon(witnesses[-1].source.run, witnesses[-1].notice)
        await until(lambda: all(witness.rescans for witness in witnesses))
        for witness in witnesses:
            assert witness.source.health.state == "healthy"
        tasks.cancel_scope.cancel()
