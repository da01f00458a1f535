from __future__ import annotations

import os
from io import StringIO
from pathlib import Path

import pytest

from vvwatch.config import load
from vvwatch.daemon import ServeOptions, serve
from vvwatch.daemon.storages import Storages

pytestmark = pytest.mark.anyio


async def test_storages_are_closed_when_the_daemon_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    async def aclose(self: Storages) -> None:
        closed.append(self)

    monkeypatch.setattr(Storages, "aclose", aclose)
    config = load(
        None, {"HOME": str(tmp_path)}, {"listen": "127.0.0.1:0", "state_dir": str(tmp_path / "state")}
    )
    options = ServeOptions({}, once=True, announce=lambda _: None, log_stream=StringIO())
    assert await serve(config, options) == os.EX_OK
    assert len(closed) == 1
