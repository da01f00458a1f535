#!/usr/bin/env python3
"""The text on screen, read by tesseract: a program for vvwatch (exec/1), asked about each segment.

Usage: screen_text.py [option of tesseract ...], e.g. screen_text.py -l deu --psm 11
"""

import json
import subprocess
import sys

segment = json.load(sys.stdin)["segment"]
if not segment["frames"]:
    sys.stderr.write("there is no picture in it")
    sys.exit(77)  # skipped, which is no failure
lines = []
for frame in segment["frames"]:
    command = ["tesseract", frame["path"], "stdout", *sys.argv[1:]]
    try:
        read = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        sys.stderr.write("there is no tesseract: apt-get install tesseract-ocr")
        sys.exit(78)  # the processor pauses until that is mended
    if read.returncode:
        sys.stderr.write(read.stderr)
        sys.exit(1)  # the segment is tried again, and has failed in the end
    lines += [line.strip() for line in read.stdout.splitlines() if line.strip()]
print(json.dumps({"metadata": {"lines": list(dict.fromkeys(lines))}}))
