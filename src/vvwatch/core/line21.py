"""Captions of EIA-608, once the line 21 of a television picture: byte pairs in order of time become cues.

Only what is shown counts. A caption that pops on is one cue, from the pair that shows it to the one that clears it or
shows the next; of captions that roll up each line is one, from its first letter to the line that pushes it up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final, NamedTuple

from vvwatch.core.cues import MOST_CUES, TooManyCues, to_plain_text
from vvwatch.core.transcripts import Cue

FRAME_SECONDS: Final = 1001 / 30000
"""Each field carries one pair in this time."""

_TWICE_SECONDS: Final = 0.1
"""A code that comes again so soon is the same one: senders repeat each."""

_LAST_COLUMN: Final = 31
_BOTTOM: Final = 15
_SPACE: Final = 0x20
_PREAMBLE: Final = 0x40
_INDENTED: Final = 0x10
_LOWER_ROW: Final = 0x20
_LAST_SPECIAL: Final = 0x0F
_ROWS: Final = ((11, 11), (1, 2), (3, 4), (12, 13), (14, 15), (5, 6), (7, 8), (9, 10))
_BASIC: Final = {
    **{code: chr(code) for code in range(0x20, 0x80)},
    0x27: "\u2019", 0x2A: "á", 0x5C: "é", 0x5E: "í", 0x5F: "ó", 0x60: "ú",
    0x7B: "ç", 0x7C: "÷", 0x7D: "Ñ", 0x7E: "ñ", 0x7F: "█",
}  # fmt: skip
_SPECIAL: Final = "®°½¿™¢£♪à èâêîôû"
_EXTENDED: Final = ("ÁÉÓÚÜü\u2018¡*'—©℠•“”ÀÂÇÈÊËëÎÏïÔÙùÛ«»", "ÃãÍÌìÒòÕõ{}\\^_|~ÄäÖöß¥¤│ÅåØø┌┐└┘")


class Pair(NamedTuple):
    """Two bytes that a picture carries at `at` seconds, in field 0 or 1."""

    at: float
    field: int
    first: int
    second: int


class _Mode(Enum):
    NONE = auto()
    POP_ON = auto()
    ROLL_UP = auto()
    PAINT_ON = auto()
    TEXT = auto()


_MODES: Final = {
    0x20: _Mode.POP_ON,
    0x25: _Mode.ROLL_UP,
    0x26: _Mode.ROLL_UP,
    0x27: _Mode.ROLL_UP,
    0x29: _Mode.PAINT_ON,
    0x2A: _Mode.TEXT,
    0x2B: _Mode.TEXT,
}
_BACKSPACE, _DELETE_REST, _CLEAR, _NEW_LINE, _CLEAR_HIDDEN, _SHOW = 0x21, 0x24, 0x2C, 0x2D, 0x2E, 0x2F


class _Page:
    """The letters on a screen, and where the next one goes."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, str]] = {}
        self.row = _BOTTOM
        self._column = 0

    def place(self, row: int, column: int) -> None:
        self.row = row
        self._column = column

    def move(self, columns: int) -> None:
        self._column = min(max(0, self._column + columns), _LAST_COLUMN)

    def put(self, letter: str) -> None:
        self._rows.setdefault(self.row, {})[self._column] = letter
        self.move(1)

    def delete(self) -> None:
        """Delete the letter before the next one."""
        self.move(-1)
        self._rows.get(self.row, {}).pop(self._column, None)

    def delete_rest(self) -> None:
        row = self._rows.get(self.row, {})
        self._rows[self.row] = {column: letter for column, letter in row.items() if column < self._column}

    def read(self) -> str:
        rows = ((self._rows[row], range(_LAST_COLUMN + 1)) for row in sorted(self._rows))
        return to_plain_text("\n".join("".join(row.get(at, " ") for at in columns) for row, columns in rows))


class _Channel:
    """One of the channels: what it shows, and what it prepares."""

    def __init__(self) -> None:
        self.cues: list[Cue] = []
        self._mode = _Mode.NONE
        self._shown = _Page()
        self._hidden = _Page()
        self._since: float | None = None

    def put(self, at: float, letter: str) -> None:
        if self._mode is _Mode.POP_ON:
            self._hidden.put(letter)
        elif self._mode in {_Mode.ROLL_UP, _Mode.PAINT_ON}:
            self._since = at if self._since is None else self._since
            self._shown.put(letter)

    def replace(self, at: float, letter: str) -> None:
        """Put a letter over the last one, which stands for it where it is unknown."""
        self._page.delete()
        self.put(at, letter)

    def place(self, row: int, column: int) -> None:
        """Go to a place; a caption that rolls up has one line at a time, wherever it is."""
        self._page.place(_BOTTOM if self._mode is _Mode.ROLL_UP else row, column)

    def move(self, columns: int) -> None:
        self._page.move(columns)

    def obey(self, at: float, code: int) -> None:
        """Do what a command says."""
        if code in _MODES:
            self._begin(at, _MODES[code])
        elif code == _BACKSPACE:
            self._page.delete()
        elif code == _DELETE_REST:
            self._page.delete_rest()
        elif code == _CLEAR or (code == _NEW_LINE and self._mode is _Mode.ROLL_UP):
            self.clear(at)
        elif code == _CLEAR_HIDDEN:
            self._hidden = _Page()
        elif code == _SHOW:
            self.clear(at)
            self._mode, self._since = _Mode.POP_ON, at
            self._shown, self._hidden = self._hidden, _Page()

    def clear(self, at: float) -> None:
        """End what is shown."""
        text = "" if self._since is None else self._shown.read()
        if text and self._since is not None:
            if len(self.cues) >= MOST_CUES:
                raise TooManyCues(f"more than {MOST_CUES:,} cues")
            self.cues.append(Cue(self._since, at, text))
        self._shown, self._since = _Page(), None

    @property
    def _page(self) -> _Page:
        return self._hidden if self._mode is _Mode.POP_ON else self._shown

    def _begin(self, at: float, mode: _Mode) -> None:
        if mode is _Mode.PAINT_ON or (mode is _Mode.ROLL_UP and self._mode is not mode):
            self.clear(at)
        self._mode = mode


class _Field:
    """One field of the picture with its two channels; pairs go to the one that was named last."""

    def __init__(self) -> None:
        self.channels = _Channel(), _Channel()
        self._current: _Channel | None = None
        self._last: Pair | None = None
        self._is_data = False

    def take(self, pair: Pair) -> None:
        at, _, first, second = pair
        if not first and not second:
            return
        if 0 < first < _SPACE:
            self._take_code(pair)
            return
        self._last = None
        if self._current is not None and not self._is_data:
            for code in (first, second):
                if code >= _SPACE:
                    self._current.put(at, _BASIC[code])

    def _take_code(self, pair: Pair) -> None:
        at, _, first, second = pair
        last, self._last = self._last, pair
        if last is not None and last[2:] == pair[2:] and at - last.at < _TWICE_SECONDS:
            self._last = None
            return
        self._is_data = first < _LAST_SPECIAL  # facts about the programme, not captions
        if first <= _LAST_SPECIAL:
            return
        self._current = self.channels[first >> 3 & 1]
        _obey(self._current, at, first & 0x07, second)


def _obey(channel: _Channel, at: float, kind: int, code: int) -> None:
    """Do what a control pair says; `kind` is its first byte without the channel."""
    if code >= _PREAMBLE:
        column = (code & 0x0E) * 2 if code & _INDENTED else 0
        channel.place(_ROWS[kind][bool(code & _LOWER_ROW)], column)
    elif code < _SPACE:
        return
    elif kind == 1 and code >= _SPACE | _INDENTED:
        channel.put(at, _SPECIAL[code & 0x0F])
    elif kind == 1:
        channel.put(at, " ")  # a change of colour takes the room of a letter
    elif kind in (2, 3):
        channel.replace(at, _EXTENDED[kind - 2][code & 0x1F])
    elif kind in (4, 5) and code < _SPACE | _INDENTED:
        channel.obey(at, code)
    elif kind == 7 and code <= 0x23:
        channel.move(code & 0x03)


def decode_pairs(pairs: Iterable[Pair]) -> dict[str, list[Cue]]:
    """Return the cues of each channel that shows something, CC1 first. Raises TooManyCues.

    An end that no pair says is infinite.
    """
    fields = _Field(), _Field()
    for pair in pairs:
        fields[pair.field].take(pair)
    channels = [channel for field in fields for channel in field.channels]
    for channel in channels:
        channel.clear(math.inf)
    return {f"CC{number}": channel.cues for number, channel in enumerate(channels, 1) if channel.cues}


def read_triplets(content: bytes, at: float, step: float = 0.0) -> list[Pair]:
    """Return the pairs of EIA-608 among triplets of `cc_data` (ATSC A/53), those of a field `step` seconds apart.

    Padding, and what belongs to captions of CEA-708, is left out.
    """
    found = []
    counts = [0, 0]
    for start in range(0, len(content) - 2, 3):
        flags, first, second = content[start], content[start + 1] & 0x7F, content[start + 2] & 0x7F
        field = flags & 0x03
        if not flags & 0x04 or field > 1:
            continue
        if first or second:
            found.append(Pair(at + counts[field] * step, field, first, second))
        counts[field] += 1
    return found
