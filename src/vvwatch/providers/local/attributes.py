"""The extended attributes that people gave a file."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

_PREFIX: Final = "user."


def read_attributes(file: int) -> dict[str, str]:
    """Return the attributes `user.*` of an open file, without the prefix; none where there can be none."""
    if not hasattr(os, "listxattr"):
        return {}
    found: dict[str, str] = {}
    with suppress(OSError):  # the file system has no attributes
        for name in os.listxattr(file):
            if name.startswith(_PREFIX):
                with suppress(OSError):  # it was removed since
                    found[name[len(_PREFIX) :]] = os.getxattr(file, name).decode("utf-8", "replace")
    return found
