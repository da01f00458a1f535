"""Tune Python's garbage collector for a process that creates a record per listed key."""

from __future__ import annotations

import gc
from typing import Final

_NEW_OBJECTS: Final = 50_000


def relax_collector() -> None:
    """Exempt present objects from collection, and collect only after a much larger surplus of new ones.

    A listing page creates a thousand short-lived records without cycles. With Python's defaults a listing spends a
    quarter of its time on collections, and a full collection of the SDKs' objects stops the event loop for 25 ms.
    """
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
