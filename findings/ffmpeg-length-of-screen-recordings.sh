#!/usr/bin/env bash
# FFmpeg states half the length of a screen recording: an MP4 with rare pictures and B-frames.
#
# A picture's place on the time line is its decode time plus its offset. Where pictures are rare, the last decode time
# lies far before the last picture. `mvhd`, `mdhd` and the edit list hold the true length, 9.64 s here; the demuxer
# replaces it by the sum of the decode durations, so the container and the stream claim 4.92 s, while the very same
# library decodes pictures up to 9.6 s. The last packet in the file ends at 7.24 s, so that is no measure either: only
# the latest picture in order of display is. MediaInfo, which reads the headers, says 9.64 s.
#
# Exits 1 when the behaviour changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 pymediainfo==7.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from fractions import Fraction

import av
from pymediainfo import MediaInfo

print("PyAV", av.__version__, "libavformat", av.library_versions["libavformat"])
with av.open("screen.mp4", "w") as out:
    stream = out.add_stream("libx264", rate=25, options={"preset": "veryfast", "bf": "3", "g": "25"})
    stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
    for n in [*range(13), 60, 120, 180, 240]:  # half a second of movement, then a picture now and then
        frame = av.VideoFrame(160, 90, "yuv420p")
        for i, plane in enumerate(frame.planes):
            plane.update(bytes((x + n * 7 + i * 40) % 256 for x in range(plane.buffer_size)))
        frame.pts, frame.time_base = n, Fraction(1, 25)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
with av.open("screen.mp4") as media:
    stated = media.duration / 1e6
    last = max(float(frame.time) for frame in media.decode(video=0))
header = MediaInfo.parse("screen.mp4").general_tracks[0].duration / 1000
print(f"FFmpeg states {stated:.2f} s and decodes a picture at {last:.2f} s; the headers say {header:.2f} s")
sys.exit(not (stated < last and header > last))
PYTHON
