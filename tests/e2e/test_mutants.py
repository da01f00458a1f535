"""Files broken on purpose, dropped into a running daemon: each ends with a reason, and harms nobody.

`VVWATCH_FULL=1 python -m pytest -n0 tests/e2e/test_mutants.py` drops 5,000; each run of the tests another 24.
VVWATCH_SEED chooses them: it is printed when they fail.
"""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.daemon_process import Daemon, wait_until
from tests.processors.conftest import Shelf, is_decoder
from tests.slices import FULL, SEED
from vvwatch.core.objects import MEDIA_TYPES

COUNT: Final = 5_000 if FULL else 24
SECONDS: Final = 5_400 if FULL else 280
IN_ORDER: Final = {"media_damaged", "media_unreadable", "media_unsupported", "media_limit", "media_encrypted"}
"""What may be said of a broken file: that its decoder crashed, or gave no sign of life, may not."""

EXTREMES: Final = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1")


def flipped(made: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 10, 200))):
        made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)


def faulty(made: bytearray, other: bytes, chance: random.Random) -> None:
    """One fault: bits, a number, or a piece that is lost, doubled, random, or of `other` media."""
    at = chance.randrange(len(made) if chance.random() < 0.5 else min(len(made), 4096))
    size = chance.choice((1, 4, 16, 188, 1000, 10_000))
    start = chance.randrange(len(other))
    pieces = {
        "number": (at, at + 4, chance.choice(EXTREMES)),
        "zeros": (at, at + size, bytes(size)),
        "noise": (at, at + size, chance.randbytes(size)),
        "lost": (at, at + size, b""),
        "doubled": (at, at, bytes(made[at : at + size])),
        "foreign": (at, at, other[start : start + size]),
        "cut": (max(at, 64), len(made), b""),
    }
    kind = chance.choice(["bits", *pieces])
    if kind == "bits":
        flipped(made, chance)
        return
    begin, end, piece = pieces[kind]
    made[begin:end] = piece


def mutant(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """`content` with one to four faults."""
    made = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if made:
            faulty(made, other, chance)
    return bytes(made) or content[:1]


def mutants(shelf: Shelf, count: int) -> Iterator[tuple[str, bytes]]:
    chance = random.Random(SEED)
    kinds = sorted(MEDIA_TYPES)
    chance.shuffle(kinds)
    contents = {
        kind: shelf.usual(kind).read_bytes() for kind in kinds[: max(12, min(len(kinds), count // 10))]
    }
    for number in range(count):
        kind, other = chance.choice([*contents]), chance.choice([*contents.values()])
        yield f"{number:05}.{kind}", mutant(contents[kind], other, chance)


def standing(daemon: Daemon) -> Counter[str]:
    """How many files and items stand where."""
    files = daemon.rows("select status, count(*) from import_files group by status")
    items = daemon.rows("select status, count(*) from run_items group by status")
    return Counter(
        {f"file {status}": n for status, n in files} | {f"item {status}": n for status, n in items}
    )


def is_through(daemon: Daemon) -> bool:
    known = standing(daemon)
    files = known["file imported"] + known["file failed"] + known["file skipped"]
    return (
        files == COUNT
        and known["item completed"] + known["item partial"] + known["item failed"] == known["file imported"]
    )


def reasons(daemon: Daemon, table: str, code: str) -> Counter[str]:
    failed = f"select {code}, count(*) from {table} where status = 'failed' group by {code}"
    return Counter(dict(daemon.rows(failed)))


def left_behind(folder: Path) -> list[psutil.Process]:
    """Decoders that work in the daemon's folders still."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if is_decoder(process) and Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


@pytest.mark.timeout(SECONDS + 60)
def test_each_broken_file_ends_with_a_reason_and_harms_nobody(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("originals"))
    daemon = Daemon(
        tmp_path,
        debounce="1s",
        automation="process_existing = true",
        extra="[processing]\nitem_timeout_seconds = 120\n",
    )
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        for name, content in mutants(shelf, COUNT):
            (daemon.incoming / name).write_bytes(content)
        with daemon:
            try:
                wait_until(lambda: is_through(daemon), f"all of seed {SEED!r} to be through", SECONDS)
            except AssertionError:
                print(standing(daemon))
                raise
            assert daemon.is_ready()
            found = reasons(daemon, "import_files", "reason") + reasons(daemon, "run_items", "error_code")
            assert found.keys() <= IN_ORDER, f"seed {SEED!r}: {found}"
            assert daemon.rows("select count(*) from media") != [(0,)]
            assert daemon.stop() == 0
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert canary.read_text() == "untouched"
    assert left_behind(tmp_path) == []
    assert daemon.events("task.failed", "job.failed") == []
