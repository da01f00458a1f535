"""What the kernel grants, against what watching takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from vvwatch.providers.local import limits

USUAL = {"max_user_watches": 65_536, "max_user_instances": 128, "max_queued_events": 16_384}


def granted(monkeypatch: pytest.MonkeyPatch, **changed: int | None) -> None:
    monkeypatch.setattr(limits, "_read_setting", lambda name: (USUAL | changed)[name])


def test_enough_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    granted(monkeypatch)
    assert [(each.state, each.fix) for each in limits.examine_limits(1000, 3)] == [("ok", "")] * 3


@pytest.mark.parametrize(("folders", "state"), [(10, "ok"), (11, "warning"), (21, "problem")])
def test_max_watches_20_leaves_room_for_others_or_not(
    monkeypatch: pytest.MonkeyPatch, folders: int, state: str
) -> None:
    granted(monkeypatch, max_user_watches=20)
    watches = limits.examine_limits(folders, 1)[0]
    assert watches.state == state
    assert watches.fix.startswith("sudo sysctl fs.inotify.max_user_watches=") is (state != "ok")


def test_instances_and_the_queue_have_their_own_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    granted(monkeypatch, max_user_instances=2, max_queued_events=100)
    _, instances, queue = limits.examine_limits(3, 3)
    assert (instances.state, instances.fix) == ("problem", "sudo sysctl fs.inotify.max_user_instances=12")
    assert (queue.state, queue.fix) == ("warning", "sudo sysctl fs.inotify.max_queued_events=16384")


def test_where_the_kernel_tells_no_limits_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    granted(monkeypatch, max_user_watches=None, max_user_instances=None, max_queued_events=None)
    assert limits.examine_limits(10**9, 10**9) == []


def test_what_is_watched_is_counted_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / ".hidden" / "c").mkdir(parents=True)
    (tmp_path / "a" / "@eaDir" / "c").mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    assert limits.count_folders(tmp_path, lambda: False) == 3
    assert limits.count_folders(tmp_path / "gone", lambda: False) == 0
    assert limits.count_folders(tmp_path, lambda: True) == 0
