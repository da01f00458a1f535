#!/bin/sh
# FFmpeg does not read the Wave64 and AIFF that it writes itself to a pipe.
#
# Its muxers leave the lengths open when they cannot seek back (all ones, zero); its demuxers take the all ones as a
# length and the zero as "no sound". The same samples written to a pipe as WAV or CAF are read. So a file of such a
# pipe is whole although FFmpeg calls it invalid data.
#
# Exits 1 when the behaviour changed.
set -eu

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet imageio-ffmpeg==0.8.1
ffmpeg=$("$folder/venv/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
"$ffmpeg" -version | head -n 1

changed=0
expect() { # container, coding, what is expected of reading it back
    "$ffmpeg" -v error -f lavfi -i sine=duration=2 -c:a "$2" -f "$1" - > "$folder/piped.$1"
    if "$ffmpeg" -v error -i "$folder/piped.$1" -f null - 2> "$folder/said"; then read=whole; else read=refused; fi
    echo "$1 written to a pipe, $(wc -c < "$folder/piped.$1") bytes: $read: $(tail -n 1 "$folder/said")"
    [ "$read" = "$3" ] || changed=1
}
expect w64 pcm_s16le refused
expect aiff pcm_s16be refused
expect wav pcm_s16le whole
expect caf pcm_s16be whole
exit $changed
