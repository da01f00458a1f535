"""A headless Chromium that comes in a package: no browser has to be installed, and every machine draws alike.

The npm package has it packed by brotli, with its libraries and one family of fonts. It is taken from the cache, else
fetched once. `VVWATCH_CHROMIUM` names another one.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.npm import NODE, NPM

_PACKAGE = "@sparticuz/chromium@153.0.0"
_ARCHIVE = "sparticuz-chromium-153.0.0.tgz"
_SHA256 = "20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0"
_PROGRAM = "chromium"
_BUNDLES = ("al2023.tar", "fonts.tar")
_FETCH_SECONDS = 600.0
_UNPACK = """
const fs = require("fs"), zlib = require("zlib");
for (const packed of process.argv.slice(1)) {
  const target = fs.createWriteStream(packed.replace(/[.]br$/, ""), { mode: 0o755 });
  fs.createReadStream(packed).pipe(zlib.createBrotliDecompress()).pipe(target);
}
"""
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
"""
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(frozen=True, slots=True)
class Chromium:
    """A program and what its environment needs."""

    program: Path
    environ: dict[str, str] = field(default_factory=dict)


def find_chromium() -> Chromium:
    """Return the browser of the tests. Raises OSError or CalledProcessError when it cannot be fetched."""
    if named := os.environ.get("VVWATCH_CHROMIUM"):
        return Chromium(Path(named))
    folder = _find_folder()
    environ = {"LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_FILE": str(folder / "fonts.conf")}
    return Chromium(folder / _PROGRAM, environ)


def _find_folder() -> Path:
    """The folder in the cache: complete, or not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vvwatch-tests"
    folder = cache / _ARCHIVE.removesuffix(".tgz")
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache) as fresh:
            ready = _fetch(Path(fresh))
            with suppress(OSError):  # another process was quicker
                ready.rename(folder)
    return folder


def _fetch(fresh: Path) -> Path:
    _run([NODE, NPM, "pack", "--silent", _PACKAGE], fresh)
    with (fresh / _ARCHIVE).open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == _SHA256, f"{_PACKAGE} is not the known one"
    with tarfile.open(fresh / _ARCHIVE) as archive:
        archive.extractall(fresh, filter="data")
    ready = fresh / "package" / "bin"
    packed = [ready / f"{name}.br" for name in (_PROGRAM, *_BUNDLES)]
    _run([NODE, "-e", _UNPACK, *packed], fresh)
    for name in _BUNDLES:
        with tarfile.open(ready / name) as bundle:
            bundle.extractall(ready, filter="data")
    for left in (*ready.glob("*.br"), *ready.glob("*.tar")):
        left.unlink()
    (ready / "fonts.conf").write_text(_FONTS)
    return ready


def _run(command: list[str | Path], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, timeout=_FETCH_SECONDS, stdout=subprocess.DEVNULL)
