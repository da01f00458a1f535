"""How the garbage collector is set."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from vvwatch import collector
from vvwatch.core.objects import StorageObject


@pytest.fixture
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.usefixtures("as_before")
def test_the_pages_of_a_listing_start_no_collection() -> None:
    collector.relax_collector()
    began = gc.get_stats()[0]["collections"]
    for _page in range(100):
        [StorageObject(f"key-{number}", "1", 1, 0.0, 0.0) for number in range(1_000)]
    assert gc.get_stats()[0]["collections"] == began


@pytest.mark.usefixtures("as_before")
def test_circles_are_collected_all_the_same() -> None:
    collector.relax_collector()
    began = gc.get_stats()[0]["collections"]
    for _ in range(100_000):
        circle: list[object] = []
        circle.append(circle)
    assert gc.get_stats()[0]["collections"] > began
