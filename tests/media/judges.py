"""Those who judge a file: our processor as the daemon uses it, and the peers FFmpeg, MediaInfo, Pillow and flac."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import imageio_ffmpeg  # type: ignore[import-untyped]
import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

from vvwatch.core.media import Probe, ProcessingResult, RunSettings
from vvwatch.errors import MediaError
from vvwatch.ports.processing import Prompt
from vvwatch.processors.technical.processor import TECHNICAL_PROMPT, Limits, TechnicalProcessor

pillow_heif.register_heif_opener()

PROMPT: Final = Prompt(
    TECHNICAL_PROMPT["prompt_text"], TECHNICAL_PROMPT["json_schema"], TECHNICAL_PROMPT["video_level"]
)
PICTURES: Final = frozenset(
    {"jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "heic", "heif", "avif"}
)
_REFUSED: Final = re.compile(r"no decoder|not supported|unsupported|encrypt|another codec", re.IGNORECASE)
_DAMAGE_WORDS: Final = re.compile(r"damaged|truncated|corrupt|cut short|lost", re.IGNORECASE)


_MEDIAINFO: Final = """
import json, sys
from pymediainfo import MediaInfo
print(json.dumps([track.to_data() for track in MediaInfo.parse(sys.argv[1]).tracks]))
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of a file: `alarms` are its complaints, `refused` that it honestly cannot decode it."""

    alarms: tuple[str, ...] = ()
    refused: bool = False
    seconds: float | None = None
    size: tuple[int, int] | None = None
    rotation: int | None = None
    ends: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


async def ours(path: Path, work_dir: Path) -> Verdict:
    """The verdict of import and run: a probe, then the whole item, each in a child process of its own."""
    processor = TechnicalProcessor(limits=Limits(), work_dir=work_dir)
    fd = os.open(path, os.O_RDONLY)
    try:
        probe = await processor.probe(fd)
        result = await processor.measure(fd, PROMPT, RunSettings(), lambda _: None)
    except MediaError as error:
        said = f"{error.code}: {error.message} {error.hint or ''}"
        # An honest refusal names the coding and speaks of no damage.
        honest = bool(_REFUSED.search(said)) and not _DAMAGE_WORDS.search(error.message)
        return Verdict((said,), refused=honest)
    finally:
        os.close(fd)
    return _verdict(probe, result)


def _verdict(probe: Probe, result: ProcessingResult) -> Verdict:
    said: dict[str, Any] = result.metadata["probe"]
    rotation = said.get("rotation_degrees")
    return Verdict(
        alarms=tuple(dict.fromkeys((*probe.damage, *result.damage))),
        seconds=None if said["media_type"] == "image" else result.metadata["analysed_seconds"],
        size=(said["width"], said["height"]) if said["width"] else None,
        rotation=None if rotation is None else int(rotation),
        ends=tuple(segment.end_time for segment in result.segments),
        notes=result.warnings,
    )


def ffmpeg(path: Path) -> Verdict:
    """A full decode of all pictures and sound by the FFmpeg command; its complaints are the lines marked as errors."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-nostdin",
        "-hide_banner",
        "-v",
        "level+info",
        "-threads",
        "1",
    ]
    command += [
        "-i",
        str(path),
        "-map",
        "0:v?",
        "-map",
        "0:a?",
        "-f",
        "null",
        "-fps_mode",
        "passthrough",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    lines = done.stderr.splitlines()
    alarms = tuple(dict.fromkeys(_plain(line) for line in lines if "[error]" in line or "[fatal]" in line))
    if done.returncode and not alarms:
        alarms = (f"exit status {done.returncode}",)
    seconds = re.search(r"Duration: (\d+):(\d+):([\d.]+)", done.stderr)
    whole = float(seconds[1]) * 3600 + float(seconds[2]) * 60 + float(seconds[3]) if seconds else None
    return Verdict(alarms, seconds=whole)


def _plain(line: str) -> str:
    """A complaint without addresses and numbers, so that it can be compared with another."""
    return re.sub(r"0x[0-9a-f]+|\d+", "#", line)


def mediainfo(path: Path) -> Verdict:
    """What MediaInfo says of the structure; nothing is decoded."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _MEDIAINFO, str(path)], capture_output=True, timeout=60, check=True
        )
    except subprocess.SubprocessError as error:
        return Verdict((type(error).__name__,))
    tracks: list[dict[str, Any]] = json.loads(done.stdout)
    general = next((t for t in tracks if t["track_type"] == "General"), {})
    alarms = []
    if not any(t["track_type"] in ("Video", "Audio", "Image") for t in tracks):
        alarms.append("no tracks")
    if any(str(track.get("istruncated", "")).lower() == "yes" for track in tracks):
        alarms.append("truncated")
    if any(key.startswith("conformanceerrors") for track in tracks for key in track):
        alarms.append("not conformant")
    shown = next((t for t in tracks if t["track_type"] in ("Video", "Image")), {})
    seconds = float(general["duration"]) / 1000 if general.get("duration") else None
    if not shown.get("width") or not shown.get("height"):
        return Verdict(tuple(alarms), seconds=seconds)
    rotation = round(float(shown.get("rotation") or 0)) % 360
    size = int(shown["width"]), int(shown["height"])
    return Verdict(
        tuple(alarms), seconds=seconds, size=size[::-1] if rotation % 180 else size, rotation=rotation
    )


def pillow(path: Path) -> Verdict:
    """A full decode of a picture by Pillow, and its size upright."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as picture:
                turned = ImageOps.exif_transpose(picture)
                for frame in range(getattr(picture, "n_frames", 1)):
                    picture.seek(frame)
                    picture.load()
        except (OSError, SyntaxError, ValueError, RuntimeError, UnidentifiedImageError, EOFError) as error:
            return Verdict((f"{type(error).__name__}: {error}",))
    return Verdict(size=turned.size)


def flac(path: Path) -> Verdict | None:
    """The flac command's own test; None where it is not installed."""
    command = shutil.which("flac")
    if command is None:
        return None
    arguments = [command, "-t", "-s", *(["--ogg"] if path.suffix in (".ogg", ".oga") else []), str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", check=False)
    return Verdict((done.stderr.strip()[:200],) if done.returncode else ())


@dataclass(frozen=True, slots=True)
class Peers:
    """What the peers say of one file."""

    ffmpeg: Verdict
    mediainfo: Verdict
    pillow: Verdict | None
    flac: Verdict | None

    def complaints(self, than: Peers | None = None) -> list[str]:
        """What any of them complains of, without what they say of the valid original as well."""
        found = [*_more(self.ffmpeg, than.ffmpeg if than else None)]
        found += _more(self.mediainfo, than.mediainfo if than else None)
        if self.pillow is not None and (than is None or than.pillow is None or not than.pillow.alarms):
            found += self.pillow.alarms
        if self.flac is not None and (than is None or than.flac is None or not than.flac.alarms):
            found += self.flac.alarms
        return found


def _more(said: Verdict, than: Verdict | None) -> Iterable[str]:
    known = than.alarms if than else ()
    return [alarm for alarm in said.alarms if alarm not in known]


def peers(path: Path) -> Peers:
    """Ask all peers that can say something of `path`."""
    extension = path.suffix[1:]
    return Peers(
        ffmpeg(path),
        mediainfo(path),
        pillow(path) if extension in PICTURES else None,
        flac(path) if extension == "flac" else None,
    )
