"""How Python's garbage collector is set for a process that makes a record of each key of a listing."""

from __future__ import annotations

import gc
from typing import Final

_NEW_OBJECTS: Final = 50_000


def relax_collector() -> None:
    """Leave what is there now out of every collection, and collect only after many more objects came than went.

    A page of a listing comes and goes as a thousand records, none of them in a cycle. With Python's own setting a
    listing spends a quarter of its time on looking through them, and a collection of all that the SDKs consist of
    stops the event loop for 25 ms.
    """
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
