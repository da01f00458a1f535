#!/usr/bin/env bash
# FFmpeg's fast_bilinear scaler fails where a process may not make memory executable, and only for pictures that grow.
#
# systemd's MemoryDenyWriteExecute=yes (and PR_SET_MDWE, which it uses) suits FFmpeg else: decoders and the other scalers
# carry on. On x86-64 fast_bilinear writes machine code for each width where pictures do not shrink; refused, it gives
# "Invalid argument", which looks like a fault of the picture: 1080p scales down for years, the first small icon fails.
#
# Needs Linux 6.3 or newer on x86-64. Exits 1 when the behaviour changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0
"$folder/venv/bin/python" - <<'PYTHON'
import ctypes
import sys

import av
from av.video.reformatter import Interpolation, VideoReformatter

PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
frame = av.VideoFrame(160, 96, "yuv420p")
for plane in frame.planes:
    plane.update(bytes([100]) * plane.buffer_size)


def scaled(width, height, way):
    try:
        return bool(VideoReformatter().reformat(frame, width, height, "gray", interpolation=way))
    except av.FFmpegError as error:
        return f"{type(error).__name__} {error.errno}"


def results():
    ways = {"fast_bilinear": Interpolation.FAST_BILINEAR, "bilinear": Interpolation.BILINEAR}
    return {name: (scaled(320, 192, way), scaled(80, 48, way)) for name, way in ways.items()}


print("PyAV", av.__version__, "with FFmpeg", av.ffmpeg_version_info)
free = results()
refused = ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0)
denied = results()
print("grown and shrunk, executable memory allowed:", free)
print("grown and shrunk, executable memory refused:", denied)
expected = {"fast_bilinear": ("ArgumentError 22", True), "bilinear": (True, True)}
sys.exit(bool(refused) or denied != expected or set(free.values()) != {(True, True)})
PYTHON
