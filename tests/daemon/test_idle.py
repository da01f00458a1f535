"""What a daemon says that has nothing to watch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from vvwatch.daemon.state import report_nothing_watched
from vvwatch.daemon.wiring import Components
from vvwatch.errors import StoreUnavailable

pytestmark = pytest.mark.anyio


def components(answer: bool | Exception, emitted: list[str]) -> Components:
    """A components whose database gives this answer."""

    async def read(*_: Any) -> bool:
        if isinstance(answer, Exception):
            raise answer
        return answer

    telemetry = SimpleNamespace(emit=lambda event, **_: emitted.append(event))
    config = SimpleNamespace(path=None)
    return cast(
        "Components", SimpleNamespace(database=SimpleNamespace(read=read), telemetry=telemetry, config=config)
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [(False, 1), (True, 0), (StoreUnavailable("the database does not work"), 0)],
    ids=["nothing", "something", "database away"],
)
async def test_only_a_daemon_that_surely_watches_nothing_says_so(answer: bool | Exception, said: int) -> None:
    emitted: list[str] = []
    announced: list[str] = []
    await report_nothing_watched(components(answer, emitted), announced.append)
    assert emitted == ["daemon.idle"] * said
    assert [line.startswith("nothing is watched yet: declare") for line in announced] == [True] * said
    assert all("`vvwatch init` writes one" in line for line in announced)
