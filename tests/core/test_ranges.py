from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.ranges import ByteRange, NoSuchRange, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=0-9", ByteRange(0, 10)),
        ("bytes=0-99999999999", ByteRange(0, 10)),
        ("bytes=4-", ByteRange(4, 6)),
        ("bytes=-4", ByteRange(6, 4)),
        ("bytes=-99", ByteRange(0, 10)),
        ("BYTES= 1 - 2 ", ByteRange(1, 2)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 500 + "-", None),
        ("bytes=" + " " * 65_000 + "x", None),
    ],
)
def test_a_range_of_ten_bytes(header: str | None, expected: ByteRange | None) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-11", "bytes=999-1000", "bytes=-0"])
def test_a_range_without_a_byte_is_refused(header: str) -> None:
    with pytest.raises(NoSuchRange):
        parse_range(header, 10)


@given(st.text("bytes=-, 0123456789", max_size=30), st.integers(0, 1000))
def test_a_stretch_is_never_empty_nor_outside(header: str, size_bytes: int) -> None:
    try:
        found = parse_range(f"bytes={header}", size_bytes)
    except NoSuchRange:
        return
    if found is not None:
        assert 0 <= found.start < found.start + found.length <= size_bytes
        assert found.content_range(size_bytes).endswith(f"/{size_bytes}")
