"""Small media through the real daemon: CPU of all its processes from the drop to the export, per file.

Usage: python bench/small_media.py [--count N] [--kinds pictures clips]

Pictures are JPEG of 640 x 360, clips ten seconds of 720p H.264 with sound. As many as asked for, all different, are put
in a watched folder at once. Counted is the CPU time of the daemon and of every process that it started, from that
moment until the export is there; the start and the end of the daemon are not. It runs in any checkout: the one whose
`python` is called.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import psutil
from av.filter import Graph
from av.video.frame import PictureType

LONGEST_SECONDS = 7200.0
PICTURE_SIZE = (640, 360)
CLIP_SIZE = (1280, 720)
CLIP_SECONDS = 10
RATE = 25
CONFIG = """
listen = "127.0.0.1:0"
state_dir = "{base}/state"
[log]
level = "error"
[local]
roots = ["{base}/incoming", "{base}/results"]
[connectors.incoming]
type = "local"
path = "{base}/incoming"
[connectors.results]
type = "local"
path = "{base}/results"
scopes = ["export"]
[indexes.main]
[automations.main]
index = "main"
connector = "incoming"
debounce = "1s"
settle = "1s"
max_objects = {count}
prompt = "technical"
[automations.main.export]
connector = "results"
"""


def patterns(size: tuple[int, int]) -> Iterator[av.VideoFrame]:
    """Moving test pictures without an end."""
    graph = Graph()
    source = graph.add("testsrc2", f"size={size[0]}x{size[1]}:rate={RATE}")
    form, sink = (
        graph.add("format", "yuvj420p" if size == PICTURE_SIZE else "yuv420p"),
        graph.add("buffersink"),
    )
    source.link_to(form)
    form.link_to(sink)
    graph.configure()
    while True:
        yield graph.vpull()


def make_pictures(folder: Path, count: int) -> None:
    """Write as many different pictures."""
    context: Any = av.CodecContext.create("mjpeg", "w")
    context.width, context.height = PICTURE_SIZE
    context.pix_fmt, context.time_base = "yuvj420p", Fraction(1, RATE)
    for number, frame in zip(range(count), patterns(PICTURE_SIZE), strict=False):
        frame.pts, frame.time_base = number, Fraction(1, RATE)
        (folder / f"{number:05}.jpg").write_bytes(b"".join(map(bytes, context.encode(frame))))


def make_clips(folder: Path, count: int) -> None:
    """Write one clip as often; a title of equal length makes each another."""
    path = folder / "00000.mp4"
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        container.metadata["title"] = "number 00000"
        video: Any = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        video.width, video.height, video.pix_fmt, video.bit_rate = *CLIP_SIZE, "yuv420p", 2_000_000
        audio: Any = container.add_stream("aac", rate=48_000, layout="stereo")
        for number, frame in zip(range(CLIP_SECONDS * RATE), patterns(CLIP_SIZE), strict=False):
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            frame.pict_type = PictureType.NONE  # the filter marks each as a key frame
            container.mux(video.encode(frame))
        for frame in tones():
            container.mux(audio.encode(frame))
        for stream in (video, audio):
            container.mux(stream.encode(None))
    whole = path.read_bytes()
    assert b"number 00000" in whole
    for number in range(1, count):
        (folder / f"{number:05}.mp4").write_bytes(whole.replace(b"number 00000", b"number %05d" % number))


def tones() -> Iterator[Any]:
    """The sound of a clip."""
    graph = Graph()
    source = graph.add("sine", f"frequency=440:sample_rate=48000:duration={CLIP_SECONDS}")
    form = graph.add("aformat", "sample_fmts=fltp:channel_layouts=stereo")
    sink = graph.add("abuffersink")
    source.link_to(form)
    form.link_to(sink)
    graph.configure()
    with suppress(av.error.EOFError):
        while True:
            yield graph.pull()


@contextmanager
def daemon(base: Path, count: int) -> Iterator[psutil.Popen]:
    """A daemon that is ready and watches an empty folder."""
    config = base / "vvwatch.toml"
    config.write_text(CONFIG.format(base=base, count=count))
    command = [sys.executable, "-m", "vvwatch", "run", "--config", str(config)]
    process = psutil.Popen(command, stdout=subprocess.PIPE)
    try:
        assert b"ready" in process.stdout.readline()
        time.sleep(1)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def own_seconds(process: psutil.Process) -> float:
    """CPU seconds of a process without its children."""
    times = process.cpu_times()
    return float(times.user + times.system)


def cpu_seconds(process: psutil.Process) -> float:
    """CPU seconds of a process and of all below it, those that ended too."""
    spent = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            spent += times.user + times.system + times.children_user + times.children_system
    return spent


def is_exported(base: Path) -> bool:
    """Whether the manifest of an export, which is written last, is there."""
    return any((base / "results").rglob("*manifest*"))


def measure(kind: str, count: int) -> None:
    """Drop the files, wait for the export, and print what was spent."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for name in ("incoming", "results", "made"):
            (base / name).mkdir()
        (make_pictures if kind == "pictures" else make_clips)(base / "made", count)
        with daemon(base, count) as process:
            before, own, dropped = cpu_seconds(process), own_seconds(process), time.monotonic()
            (base / "made").rename(base / "incoming" / "drop")
            while not is_exported(base):
                assert time.monotonic() < dropped + LONGEST_SECONDS
                time.sleep(0.5)
            spent, took = cpu_seconds(process) - before, time.monotonic() - dropped
            own = own_seconds(process) - own
        print(f"{kind}: CPU from drop to export, a file  {spent / count * 1000:>8.1f} ms")
        print(f"{kind}: of it the daemon itself         {own / count * 1000:>8.1f} ms")
        print(f"{kind}: drop to export                   {took:>8.1f} s")


def main(options: argparse.Namespace) -> None:
    """Measure the kinds that are asked for."""
    print(
        f"{options.count:,} of each, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", file=sys.stderr
    )
    for kind in options.kinds:
        measure(kind, options.count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--kinds", nargs="+", choices=["pictures", "clips"], default=["pictures", "clips"])
    main(parser.parse_args())
