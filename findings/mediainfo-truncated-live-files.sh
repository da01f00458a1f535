#!/usr/bin/env bash
# MediaInfo calls whole live recordings truncated.
#
# A recorder that writes to a pipe cannot go back to fill in lengths: Matroska then has a segment of unknown size, WAV
# has sizes of all ones. Both are complete and play to the end. MediaInfo says IsTruncated=Yes of each, as it does
# of a file that really lost its end; so its word alone is no proof of damage.
#
# Exits 1 when the behaviour changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check imageio-ffmpeg==0.8.1 pymediainfo==7.0.1
ffmpeg=$("$folder/venv/bin/python" -c "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())")
cd "$folder"
source="-f lavfi -i testsrc2=s=160x90:d=2 -f lavfi -i sine=d=2"
"$ffmpeg" -v error $source -c:v libx264 -c:a aac -f matroska - | cat > live.mkv
"$ffmpeg" -v error -f lavfi -i sine=d=2 -f wav - | cat > live.wav
for file in live.mkv live.wav; do
  echo "$file: errors of a full decode: $("$ffmpeg" -v error -i $file -f null - 2>&1 | wc -l)"
done
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from pymediainfo import MediaInfo

print(MediaInfo.can_parse() and "pymediainfo 7.0.1")
said = [MediaInfo.parse(name).general_tracks[0].istruncated for name in ("live.mkv", "live.wav")]
print("IsTruncated:", said)
sys.exit(said != ["Yes", "Yes"])
PYTHON
