#!/usr/bin/env python3
"""How loud each segment is: a program for vvwatch (exec/1) that needs nothing but Python."""

import array
import json
import sys
import wave

segment = json.load(sys.stdin)["segment"]
if segment["audio_path"] is None:
    sys.exit(77)  # no sound: skipped, which is no failure
with wave.open(segment["audio_path"]) as sound:
    samples = array.array("h", sound.readframes(sound.getnframes()))
peak = max(map(abs, samples), default=0) / 32768
print(json.dumps({"metadata": {"peak": round(peak, 3), "is_silent": peak < 0.01}}))
