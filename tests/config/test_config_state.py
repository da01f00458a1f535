"""On which file systems the state may lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vvwatch import mounts
from vvwatch.config import Config, Problem, rules
from vvwatch.core.filesystems import Mount

Read = Callable[..., Config]
Problems = Callable[..., list[Problem]]
POSTGRESQL = 'database_url = "postgresql://db/vvwatch"\n[node]\nname = "a"\n'


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let file systems of these kinds be mounted at folders of the test."""
    table = tmp_path / "mountinfo"

    def mount_at(path: Path) -> Mount | None:
        return mounts.mount_at(path, table)

    def mount(**kinds: str) -> None:
        lines = [f"30 21 0:40 / {tmp_path / name} rw - {kind} x rw" for name, kind in kinds.items()]
        table.write_text("\n".join(["21 1 8:1 / / rw - ext4 /dev/sda1 rw", *lines]))

    monkeypatch.setattr(rules, "mount_at", mount_at)
    return mount


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "fuse.rclone", "fuse.new", "davfs", "lustre"])
def test_a_database_on_a_network_file_system_is_refused_unless_it_is_allowed(
    tmp_path: Path, read: Read, problems: Problems, mounted: Callable[..., None], kind: str
) -> None:
    mounted(nas=kind)
    text = f'state_dir = "{tmp_path}/nas/vvwatch"\n'
    [problem] = problems(text)
    assert (problem.line, problem.key) == (1, "state_dir")
    assert f"lies on {kind}" in problem.what
    assert "allow_network_state_dir" in problem.hint
    [warning] = read(text + "allow_network_state_dir = true\n").warnings
    assert (warning.key, warning.what) == ("state_dir", problem.what)


@pytest.mark.parametrize("kind", ["virtiofs", "9p", "vboxsf", "fuse.mergerfs", "fuse.shfs"])
def test_a_doubtful_file_system_is_warned_of(
    tmp_path: Path, read: Read, mounted: Callable[..., None], kind: str
) -> None:
    mounted(nas=kind)
    [warning] = read(f'state_dir = "{tmp_path}/nas"\n').warnings
    assert f"{kind}, which may not carry the locks" in warning.what


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "fuse.gocryptfs"])
def test_a_local_disk_is_what_it_takes(
    tmp_path: Path, read: Read, mounted: Callable[..., None], kind: str
) -> None:
    mounted(nas=kind)
    assert read(f'state_dir = "{tmp_path}/nas"\n').warnings == ()


def test_where_the_database_is_elsewhere_its_file_counts(
    tmp_path: Path, read: Read, problems: Problems, mounted: Callable[..., None]
) -> None:
    mounted(nas="nfs4")
    local = f'database_url = "sqlite:///{tmp_path}/local.db"\nstate_dir = "{tmp_path}/nas"\n'
    [warning] = read(local).warnings
    assert warning.what.startswith("the spool lies on nfs4")
    remote = f'state_dir = "{tmp_path}/local"\ndatabase_url = "sqlite:///{tmp_path}/nas/x.db"\n'
    assert [problem.key for problem in problems(remote)] == ["database_url"]


def test_a_link_is_where_it_leads(tmp_path: Path, problems: Problems, mounted: Callable[..., None]) -> None:
    mounted(nas="nfs4")
    (tmp_path / "nas").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nas")
    assert [problem.key for problem in problems(f'state_dir = "{tmp_path}/link/deep"\n')] == ["state_dir"]


def test_with_postgresql_only_the_spool_is_slow(
    tmp_path: Path, read: Read, mounted: Callable[..., None]
) -> None:
    mounted(nas="nfs4")
    found = read(f'state_dir = "{tmp_path}/nas"\n{POSTGRESQL}').warnings
    assert [warning.what for warning in found] == [
        "the spool lies on nfs4: what is processed travels over the network twice"
    ]
