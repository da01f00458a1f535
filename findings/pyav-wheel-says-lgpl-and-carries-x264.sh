#!/usr/bin/env bash
# The FFmpeg in PyAV's wheel reports the LGPL as its licence, and encodes with x264 and x265, which are under the GPL.
#
# FFmpeg's own build refuses both libraries without --enable-gpl, and with it reports the GPL. So a tool that asks FFmpeg
# for its licence (av.library_meta, avcodec_license) clears an image that in fact carries GPL parts.
#
# Exits 1 when the behaviour changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import distribution

import av
from av._core import library_meta

meta = library_meta["libavcodec"]
print("PyAV", av.__version__, "with FFmpeg", av.ffmpeg_version_info)
print("licence it reports:", meta["license"])
options = meta["configuration"].split()
print("built with --enable-gpl:", "--enable-gpl" in options)
encoders = [av.codec.Codec(name, "w").name for name in ("libx264", "libx265")]
carried = sorted(file.name.partition("-")[0] for file in distribution("av").files if file.name.startswith(("libx264", "libx265")))
print("encoders that work:", encoders, "- libraries in the wheel:", carried)
is_so = meta["license"].startswith("LGPL") and "--enable-gpl" not in options and carried == ["libx264", "libx265"]
sys.exit(not is_so)
PYTHON
