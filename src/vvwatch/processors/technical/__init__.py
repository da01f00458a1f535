"""The processor that measures with FFmpeg alone."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vvwatch.processors.technical.processor import Limits, TechnicalProcessor

__all__ = ["Limits", "TechnicalProcessor"]


def __getattr__(name: str) -> Any:
    """Load on first use: the confined process imports this package too and must not pay for unused modules."""
    if name not in __all__:
        raise AttributeError(name)
    return getattr(import_module("vvwatch.processors.technical.processor"), name)
