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


def test_folders_are_counted_as_the_library_watches_them(tmp_path: Path) -> None:
    """Hidden ones as well, and what links lead to, each once."""
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / ".hidden" / "c").mkdir(parents=True)
    (tmp_path / "outside" / "d").mkdir(parents=True)
    (root / "loop").symlink_to(root)
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "dangling").symlink_to(tmp_path / "gone")
    (root / "file").touch()
    assert limits.survey_folders(str(root)) == limits.Folders(7)
    assert limits.survey_folders(str(tmp_path / "gone")) == limits.Folders(0)
    assert limits.survey_folders(str(root), lambda: True) == limits.Folders(0)


def test_watches_are_those_of_the_instance_that_watches_the_folder_first(tmp_path: Path) -> None:
    watch = "inotify wd:{} ino:{} sdev:1b mask:3ee ignored_mask:0 \n"
    (tmp_path / "3").write_text("pos:\t0\n" + watch.format(2, "ab") + watch.format(1, "ff"))
    (tmp_path / "4").write_text("pos:\t0\n" + watch.format(2, "ff") + watch.format(1, "ffe"))
    (tmp_path / "5").mkdir()
    assert limits.count_watches(0xFF, tmp_path) == 2
    assert limits.count_watches(0xAB, tmp_path) == 0
    assert limits.count_watches(0xFF, tmp_path / "absent") is None
