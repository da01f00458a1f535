"""What the crash tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import samples


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.image(tmp_path_factory.mktemp("picture") / "picture.png")
