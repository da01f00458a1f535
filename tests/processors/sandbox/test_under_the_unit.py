"""Media under the system-call filter of the systemd unit, and the sandbox within it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest

from tests.processors.conftest import Shelf, Technical
from tests.processors.sandbox.test_seccomp import numbers_of
from tests.systemd.test_units import allowed_calls, analyze
from vvwatch.core.objects import MEDIA_TYPES
from vvwatch.processors.media import asking, forking
from vvwatch.processors.media.forking import Template

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]
__all__ = ["analyze"]

UNDER_FILTER: Final = """
import ctypes, errno, json, os, struct, sys
steps = [(0x20, 0, 0, 0)]
for number in json.loads(sys.argv[1]):
    steps += [(0x15, 0, 1, number), (0x06, 0, 0, 0x7FFF0000)]
steps.append((0x06, 0, 0, 0x50000 | errno.EPERM))
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0
prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE, as MemoryDenyWriteExecute; Linux 6.3
assert prctl(22, 2, ctypes.c_char_p(struct.pack("@HP", len(steps), ctypes.addressof(code))), 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""


def under_filter(analyze: str, command: Sequence[str]) -> tuple[str, ...]:
    """The command of a process that starts under the filter."""
    known = numbers_of(os.uname().machine, *sorted(allowed_calls(analyze)))
    numbers = json.dumps(sorted({number for number in known.values() if number >= 0}))
    return (sys.executable, "-I", "-c", UNDER_FILTER, numbers, *command)


@pytest.mark.parametrize("media_type", sorted(set(MEDIA_TYPES.values())))
async def test_every_sample_is_processed(
    analyze: str,
    shelf: Shelf,
    technical: Technical,
    monkeypatch: pytest.MonkeyPatch,
    media_type: str,
) -> None:
    """The filter is put on the child before it starts, as systemd puts it on the daemon."""
    monkeypatch.setattr(asking, "COMMAND", under_filter(analyze, asking.COMMAND))

    for extension in [name for name, kind in MEDIA_TYPES.items() if kind == media_type]:
        result = await technical.process(shelf.usual(extension))
        measured = result.segments[0].metadata["mean_luma"], result.segments[0].metadata["loudness_lufs"]
        assert (result.damage, any(value is not None for value in measured)) == ((), True), extension


async def test_the_process_that_forks_works_there_too(
    analyze: str, shelf: Shelf, technical: Technical, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "COMMAND", under_filter(analyze, forking.COMMAND))
    template = Template(lambda *event, **_: pytest.fail(str(event)))

    for extension in ("jpg", "mp4", "wav"):
        result = await replace(technical, template=template).process(shelf.usual(extension))
        assert result.damage == ()
    await template.aclose()
