"""The table of file systems in docs/folders.md is what the product goes by."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vvwatch.core.filesystems import Keeping, Mount
from vvwatch.core.housekeeping import is_housekeeping, is_housekeeping_file

DOCS = (Path(__file__).parents[1] / "docs/folders.md").read_text()
WORDS = {"is safe": Keeping.SAFE, "is warned of": Keeping.DOUBTFUL, "is refused": Keeping.UNSAFE}
KIND = re.compile(
    r"\b(?:fuse\.[a-z0-9-]+|fuseblk|ext4|xfs|btrfs|zfs|f2fs|ntfs3|tmpfs|overlay|ecryptfs|vfat|exfat|nfs4?|ceph|lustre|beegfs"
    r"|gpfs|glusterfs|afs|gfs2|ocfs2|autofs|cifs|smb3|davfs|9p|virtiofs|vboxsf|vmhgfs|fakeowner|drvfs)\b"
)


def rows() -> list[tuple[str, str, str, str]]:
    """Each kind with what the table says of it."""
    lines = [
        [cell.strip() for cell in line.split("|")[1:5]] for line in DOCS.splitlines() if line.startswith("| ")
    ]
    return [(kind, *cells[1:4]) for cells in lines[1:] for kind in KIND.findall(cells[0])]


@pytest.mark.parametrize(("kind", "version", "learnt", "database"), rows())
def test_the_table_of_kinds_is_true(kind: str, version: str, learnt: str, database: str) -> None:
    mount = Mount("0:1", "/mnt", kind, "rw,serverino")
    assert version.startswith("inode, size, time" if mount.has_lasting_inodes else "size, time")
    assert learnt.startswith("listings" if mount.is_remote else "notices")
    assert mount.keeping is WORDS[database]


def test_the_table_has_every_kind_once() -> None:
    kinds = [kind for kind, *_ in rows()]
    assert len(kinds) == len(set(kinds))
    assert len(kinds) > 50


def test_each_name_that_is_told_is_left_alone() -> None:
    section = DOCS.split("keeps for itself\n")[1].split("\n\nA prefix")[0]
    names = re.findall(r"`([^`\n]+)`", section.split("The recycle bins")[0])
    assert len(names) > 20
    assert all(is_housekeeping(name) or is_housekeeping_file(name) for name in names)
