from __future__ import annotations

from pathlib import Path

import pytest

from tests.providers.memory import MemoryStorage
from vvwatch.providers import remote
from vvwatch.providers.local.storage import LocalStorage
from vvwatch.providers.spool import Spool


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def storage(root: Path) -> LocalStorage:
    return LocalStorage(root, allowed_roots=[root.parent])


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    folder = tmp_path / "spool"
    folder.mkdir()
    return Spool(folder, 1 << 30)


@pytest.fixture
def memory(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> MemoryStorage:
    """Of small measures: what is a MiB elsewhere is a few bytes here."""
    monkeypatch.setattr(remote, "_EXCERPT_BYTES", 16)
    monkeypatch.setattr(remote, "_POURED_BYTES", 10)
    return MemoryStorage(spool)
