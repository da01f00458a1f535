#!/bin/sh
# OpenTimelineIO's FCPXML adapter loses a frame of clips that it wrote itself, at whole rates too.
#
# FCPXML times are rational seconds (29/25s is 29 frames). The adapter reads them through floats and cuts the fraction
# off: 29 / 25 * 25 is 28.999..., so the clip has 28 frames. At 24 frames a second no length up to 2,000 frames is hit,
# at 25 and 50 every fifteenth is. A file that this reader reads short may be exact: read the fractions themselves.
#
# Exits 1 when the behaviour changed.
set -eu

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opentimelineio==0.18.1 otio-fcpx-xml-adapter==1.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import re
import sys

import opentimelineio as otio
from opentimelineio.opentime import RationalTime, TimeRange

EXPECTED = {24: 0, 25: 137, 30: 38, 50: 137, 60: 38}


def read_back(rate, frames):
    """Return what the adapter writes for a clip of so many frames, and how many it reads from that."""
    source = otio.schema.ExternalReference("file:///a.mov", TimeRange(RationalTime(0, rate), RationalTime(9999, rate)))
    clip = otio.schema.Clip("clip", source, TimeRange(RationalTime(0, rate), RationalTime(frames, rate)))
    timeline = otio.schema.Timeline("timeline")
    timeline.tracks.append(otio.schema.Track("V", [clip], kind="Video"))
    written = otio.adapters.write_to_string(timeline, "fcpx_xml")
    (found,) = otio.adapters.read_from_string(written, "fcpx_xml").find_clips()
    return re.findall(r'<asset-clip[^>]* duration="([^"]+)"', written)[-1], found.source_range.duration.value


print("29 frames at 25: written as %s, read as %d frames" % read_back(25, 29))
short = {rate: sum(read_back(rate, n)[1] != n for n in range(1, 2000)) for rate in EXPECTED}
print("lengths of 1 to 1,999 frames that come back shorter, by rate:", short)
sys.exit(short != EXPECTED)
PYTHON
