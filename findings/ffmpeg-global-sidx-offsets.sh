#!/usr/bin/env bash
# FFmpeg's MP4 muxer writes a file that no decoder can read when a global index is asked for.
#
# With `-movflags global_sidx` the muxer makes room for a `sidx` box and moves all fragments back by its size, but it
# leaves the absolute `base_data_offset` of each fragment as it was: every sample is read from the wrong place. Only
# `default_base_moof`, whose offsets are relative, gives a good file. The command says nothing and exits with 0.
# So a file straight out of FFmpeg may really be damaged, and a checker is right to say so.
#
# Exits 1 when the behaviour changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check imageio-ffmpeg==0.8.1
ffmpeg=$("$folder/venv/bin/python" -c "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())")
"$ffmpeg" -version | head -1

errors() { # flags -> lines of error of a full decode of what they write
  "$ffmpeg" -v error -y -f lavfi -i testsrc2=s=160x90:d=2 -c:v libx264 -preset ultrafast -g 12 \
    -movflags "$1" "$folder/out.mp4"
  { "$ffmpeg" -v error -i "$folder/out.mp4" -f null - 2>&1 || true; } | wc -l
}

plain=$(errors +frag_keyframe+empty_moov)
indexed=$(errors +frag_keyframe+empty_moov+global_sidx)
relative=$(errors +frag_keyframe+empty_moov+default_base_moof+global_sidx)
echo "errors of a full decode: fragments $plain, with global_sidx $indexed, with default_base_moof too $relative"
[ "$plain" -eq 0 ] && [ "$indexed" -gt 0 ] && [ "$relative" -eq 0 ]
