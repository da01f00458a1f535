from __future__ import annotations

from pathlib import Path

import pytest

from vvwatch.storage.local import LocalStorage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def storage(root: Path) -> LocalStorage:
    return LocalStorage(root, allowed_roots=[root.parent])
