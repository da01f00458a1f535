"""Counts FFmpeg's log lines about lost data: for some codings they are the only trace of it.

Decoders conceal what they cannot read, and demuxers skip what they do not know. Only lines about lost coded data
count: others concern metadata, unusual encoders, or pictures before the first key frame.
"""

from __future__ import annotations

import logging
import re
from typing import Final

import av.logging

_LOST: Final = {
    "gif": r"LZW (decode|init) failed",
    "tiff": r"Decoded only|Uncompressing failed|went out of bounds|Invalid strip|not enough data",
    "mjpeg": r"bad vlc|error y=|error count|overread|huffman table decode error",
    "h264": r"error while decoding MB|Invalid NAL unit size|Error splitting the input|missing picture in access unit",
    "hevc": r"Could not find ref with POC|Error constructing the frame RPS|alignment_bit_equal_to_one=0",
    "mpeg4": r"-tex damaged|Error at MB|slice end not reached|MV out of range",
    "mpeg2video": r"-tex damaged|invalid mb type|mb incr damaged|end mismatch|slice mismatch|MVs not available",
    "matroska,webm": r"Invalid track number|invalid as first byte of an EBML number|exceeds max length",
    "mxf": r"error getting stream index",
}
_DEMUXERS: Final = frozenset({"libav.matroska,webm", "libav.mxf"})
_PATTERNS: Final = {f"libav.{name}": re.compile(pattern) for name, pattern in _LOST.items()}


class Complaints(logging.Handler):
    """Counts the lines about lost data: `count` those of decoders and parsers, `skips` those of demuxers."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.skips = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count `record` if it reports lost data; keep nothing of it."""
        pattern = _PATTERNS.get(record.name)
        if pattern is None or not pattern.search(record.getMessage()):
            return
        if record.name in _DEMUXERS:
            self.skips += 1
        else:
            self.count += 1

    def take_skips(self) -> int:
        """Return the skips so far, and reset them."""
        taken, self.skips = self.skips, 0
        return taken


def _attach_complaints() -> Complaints:
    heard = Complaints()
    logger = logging.getLogger("libav")
    logger.addHandler(heard)
    logger.propagate = False
    av.logging.set_skip_repeated(False)
    av.logging.set_level(av.logging.ERROR)
    return heard


COMPLAINTS: Final = _attach_complaints()
"""The counter of this process, which handles one item."""
