"""The parse of Google Cloud Storage's listing keeps every key as it is, and says which cannot be used."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.gcs.gcs_places import described
from vvwatch.core.objects import StorageObject
from vvwatch.providers.gcs.listing import is_usable_key, parse_object, parse_page

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ODD = st.sampled_from(
    ["", ".", "..", "a/..", "\0", "a\0", "\ud800", "\udfff/", "//", '"', "\\u0000", "\U0001f3ac"]
)
HOSTILE = ODD | st.text(st.characters(), max_size=20)


def page_of(items: list[dict[str, Any]], *, escaped: bool) -> bytes:
    return json.dumps({"kind": "storage#objects", "items": items}, ensure_ascii=escaped).encode()


def encodable(text: str) -> bool:
    return text.encode(errors="ignore").decode() == text


@given(st.lists(HOSTILE, max_size=8), st.booleans())
def test_every_key_is_kept_as_it_is_or_named_as_unusable(keys: list[str], escaped: bool) -> None:
    escaped = escaped or not encodable("".join(keys))
    keys = json.loads(json.dumps(keys))  # two halves of a pair that meet are one character
    listed, token = parse_page(page_of([described(key, 7, 3) for key in keys], escaped=escaped))
    assert [obj.key for obj in listed.objects] == [key for key in keys if is_usable_key(key)]
    assert len(listed.irregular) == len([key for key in keys if not is_usable_key(key)])
    assert all(each.key.encode() and "\0" not in each.key for each in listed.irregular if each.key)
    assert token == ""


@pytest.mark.parametrize(
    ("key", "printable", "reason"),
    [
        ("a\0b", "a\\x00b", "unusable_key"),
        ("..", "..", "unusable_key"),
        ("a\ud800\0", "a\\ud800\\x00", "undecodable_name"),
        ("k" * 1_025, "k" * 1_025, "key_too_long"),
        ("é" * 513, "é" * 513, "key_too_long"),
    ],
)
def test_an_unusable_key_is_printable(key: str, printable: str, reason: str) -> None:
    listed, _ = parse_page(page_of([described(key, 7, 3), described("good", 7, 3)], escaped=True))
    assert [(each.key, each.reason) for each in listed.irregular] == [(printable, reason)]
    assert [obj.key for obj in listed.objects] == ["good"]


@given(st.datetimes(EPOCH.replace(tzinfo=None)), st.integers(0, 9))
def test_a_time_is_epoch_seconds_whatever_its_digits(moment: datetime, digits: int) -> None:
    fraction = f"{moment.microsecond:06d}000"[:digits]
    text = moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{fraction}" * bool(fraction) + "Z"
    whole = moment.replace(microsecond=int(f"{fraction:0<6}"[:6]), tzinfo=UTC)
    obj = parse_object(json.dumps({**described("a", 7, 3), "updated": text}).encode())
    assert obj == StorageObject("a", "7", 3, (whole - EPOCH) / timedelta(seconds=1), obj.modified_at)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": None},
        {"name": 7},
        {"generation": 7},
        {"generation": "x"},
        {"size": 3},
        {"size": "-1"},
        {"size": "1e3"},
        {"size": "9" * 19},
        {"generation": "9" * 21},
        {"updated": "0000-11-22T10:57:52Z"},
        {"updated": None},
        {"updated": "2026-11-22T10:57:52"},
        {"updated": "2026-11-22T10:57:52+01:00"},
        {"updated": "yesterdayZ"},
        {"updated": ""},
    ],
    ids=str,
)
def test_an_object_that_is_not_described_whole_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        parse_page(page_of([described("a", 7, 3), {**described("b", 7, 3), **wrong}], escaped=True))
    with pytest.raises(ValueError):
        parse_object(json.dumps({**described("b", 7, 3), **wrong}).encode())


def test_the_longest_keys_are_listed() -> None:
    keys = ["k" * 1_024, "é" * 512, "\U0001f3ac" * 256]
    listed, _ = parse_page(page_of([described(key, 7, 3) for key in keys], escaped=True))
    assert [obj.key for obj in listed.objects] == keys


def test_what_is_not_utf8_is_no_listing() -> None:
    with pytest.raises(ValueError):
        parse_page(page_of([described("a", 7, 3)], escaped=True).replace(b'"a"', b'"\xff"'))


@pytest.mark.parametrize("field", ["generation", "size", "updated"])
def test_an_entry_that_leaves_out_what_must_be_known_is_irregular_and_its_neighbours_are_listed(
    field: str,
) -> None:
    whole, lacking = described("a", 7, 3), dict(described("b", 7, 3))
    del lacking[field]
    found = parse_page(page_of([whole, lacking], escaped=True)).listed
    assert [obj.key for obj in found.objects] == ["a"]
    ((key, reason, detail),) = [(each.key, each.reason, each.detail) for each in found.irregular]
    assert (key, reason) == ("b", "incomplete_entry")
    assert f"does not give its {field}" in detail
