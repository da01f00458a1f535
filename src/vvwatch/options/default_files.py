"""Where the configuration file and the state directory are when nobody names them.

Every command asks this, so it imports nothing that takes time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_FILE_NAME: Final = "vvwatch.toml"


def default_path(environ: Mapping[str, str]) -> Path | None:
    """Return the file to read when none is named: $VVWATCH_CONFIG, else that of systemd's directory, else None."""
    if named := environ.get("VVWATCH_CONFIG"):
        return Path(named)
    if folder := environ.get("CONFIGURATION_DIRECTORY"):
        path = Path(folder.split(":")[0]) / _FILE_NAME
        return path if os.path.lexists(path) else None
    return None


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """Return the default state directory: systemd's, else the user's."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if state := environ.get("XDG_STATE_HOME"):
        return Path(state) / "vvwatch"
    return Path(environ.get("HOME") or Path.home()) / ".local/state/vvwatch"
