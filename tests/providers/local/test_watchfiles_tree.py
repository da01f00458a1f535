# ruff: noqa: ASYNC240 - the folder is changed behind the source's back
from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path
from typing import NoReturn

import pytest
import watchfiles

from tests.providers.local.witness import Witness, until
from vvwatch.errors import StorageUnavailable
from vvwatch.providers.local import watchfiles_tree
from vvwatch.providers.local.watchfiles_tree import Bursts, WatchfilesTree

pytestmark = pytest.mark.anyio


def listeners() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("watchfiles ")]


async def test_a_folder_that_appears_is_listed_at_once_and_again(tmp_path: Path) -> None:
    witness = Witness(tmp_path)
    async with witness.watching():
        (tmp_path / "new").mkdir()
        began = time.monotonic()
        await until(lambda: witness.rescans[1:] == ["new/"])
        await until(lambda: witness.rescans[1:] == ["new/", "new/"])
        assert time.monotonic() - began > 1


async def test_a_burst_has_everything_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it was a burst of: hidden files fill the kernel's queue as well."""
    monkeypatch.setattr(watchfiles_tree, "_BURST", 100)
    witness = Witness(tmp_path)
    async with witness.watching():
        for number in range(1_000):
            (tmp_path / f".{number}.part").touch()
        await until(lambda: len(witness.rescans) > 1)
    assert set(witness.rescans) == {""}
    assert not witness.seen


def test_one_full_listing_follows_a_burst() -> None:
    bursts = Bursts()
    bursts.note(100.0, 1_999)
    bursts.note(101.0, 1_999)
    assert bursts.due_at is None
    bursts.note(101.5, 1)
    assert bursts.due_at == 102.5
    bursts.note(102.0, 3_000)
    assert not bursts.take_due(102.9)
    assert bursts.take_due(103.0)
    assert not bursts.take_due(104.0)


def test_a_burst_that_goes_on_has_everything_listed_every_10_seconds_and_once_after_it() -> None:
    bursts, listed = Bursts(), []
    for tenth in range(1_000, 1_400):
        bursts.note(tenth / 10, 3_000 if tenth < 1_255 else 0)
        if bursts.take_due(tenth / 10):
            listed.append(tenth // 10)
    assert listed == [110, 120, 130]


def test_a_standstill_counts_as_a_burst() -> None:
    bursts = Bursts()
    bursts.note(100.0, 0, after_standstill=True)
    assert bursts.due_at == 101.0


async def test_what_is_told_under_a_link_is_hinted_under_its_own_name(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for folder in ("z", ".hidden"):
        (root / folder).mkdir(parents=True)
    for link, target in (("a", "z"), ("zz", "z"), ("shown", ".hidden"), ("up", "..")):
        (root / link).symlink_to(target)
    (tmp_path / "entrance").symlink_to("root")
    witness = Witness(tmp_path / "entrance")
    async with witness.watching():
        (root / ".hidden" / "a.mp4").touch()
        (tmp_path / "outside.mp4").touch()
        (root / "z" / "a.mp4").touch()
        await until(lambda: "z/a.mp4" in witness.hinted)
    assert witness.hinted == {"z/a.mp4"}


async def test_an_undecodable_folder_is_named_and_what_is_beside_it_is_listed(tmp_path: Path) -> None:
    """Whoever looks into such a folder ends the library again; once it has another name all is well."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    witness = Witness(tmp_path)
    async with witness.watching():
        folder.mkdir()
        await until(lambda: witness.source.health.state == "degraded")
        assert "caf\\xE9" in witness.source.health.reason
        folder.rename(tmp_path / "cafe")
        (tmp_path / "cafe" / "a.mp4").touch()
        await until(lambda: "cafe/a.mp4" in witness.seen)
        await until(lambda: witness.source.health.state == "healthy")


async def test_while_the_library_refuses_the_folder_is_listed_from_time_to_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError("Permission denied (os error 13) about [closed]")

    (tmp_path / "a.mp4").touch()
    witness = Witness(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(watchfiles, "watch", refuse)
        async with witness.watching():
            await until(lambda: "a.mp4" in witness.seen)
            assert witness.source.health.state == "degraded"
            assert "[closed]" in witness.source.health.reason
            patch.undo()
            await until(lambda: witness.source.health.state == "healthy")


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (RuntimeError("no watcher: Too many open files (os error 24)"), errno.EMFILE),
        (RuntimeError("Unable to decode path"), errno.EIO),
    ],
)
def test_what_the_library_says_in_words_gets_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, number: int
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(watchfiles, "watch", fail)
    with pytest.raises(OSError, match=r".+") as caught:
        WatchfilesTree(tmp_path)
    assert caught.value.errno == number
    assert listeners() == []


async def test_folders_beyond_the_budget_are_listed_from_time_to_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the start and at it; once the budget suffices all is well."""
    monkeypatch.setattr(watchfiles_tree, "count_watches", lambda _: 3)
    witness = Witness(tmp_path, sweep_seconds=0.5)
    async with witness.watching():
        assert witness.source.health.state == "healthy"
        for name in ("1", "2", "3"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "a.mp4").touch()
        await until(lambda: witness.source.health.state == "degraded")
        assert "1 of 4 folders cannot be watched" in witness.source.health.reason
        assert witness.source.health.hint.startswith("sudo sysctl fs.inotify.max_user_watches=")
        await until(lambda: len(witness.seen) == 3)
        monkeypatch.setattr(watchfiles_tree, "count_watches", lambda _: 4)
        await until(lambda: witness.source.health.state == "healthy")


def test_no_thread_is_left_when_it_is_closed_or_never_began(tmp_path: Path) -> None:
    tree = WatchfilesTree(tmp_path)
    assert listeners() == [f"watchfiles {tmp_path}"]
    began = time.monotonic()
    tree.close()
    assert time.monotonic() - began < 3
    with pytest.raises(StorageUnavailable):
        WatchfilesTree(tmp_path / "absent")
    assert listeners() == []
