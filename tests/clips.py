"""Small media for tests that drive the daemon."""

from __future__ import annotations

from pathlib import Path

from vvwatch.processors.sample_clips import Clip, write_clip, write_part, write_picture


def video(
    path: Path, seconds: float, cuts: tuple[float, ...] = (), size: tuple[int, int] = (160, 90)
) -> Path:
    """A clip with sound, cut at `cuts`; its index stands in front, so that a part of it still opens."""
    fast_start = {"movflags": "+faststart"}
    return write_clip(path, Clip(seconds=seconds, cuts=cuts, size=size, container_options=fast_start))


def audio(path: Path, seconds: float) -> Path:
    """A tone."""
    return write_clip(path, Clip(seconds=seconds, video_codec=None, audio_codec="pcm_s16le"))


def image(path: Path) -> Path:
    """A picture."""
    return write_picture(path, (160, 90), "png" if path.suffix == ".png" else "mjpeg")


def truncated(source: Path, path: Path, fraction: float) -> Path:
    """The first part of a file, as an upload that broke off."""
    return write_part(source, path, fraction)
