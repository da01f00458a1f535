from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.events import EVENT_TYPES, build_envelope, canonical_json, to_iso
from vvwatch.errors import InvalidInput

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def test_there_are_the_seventeen_events_of_the_v2_api_and_two_more() -> None:
    assert len(set(EVENT_TYPES)) == len(EVENT_TYPES) == 19
    assert EVENT_TYPES[0] == "media.created"
    assert EVENT_TYPES[-3:] == ("import_job.progress", "processor.paused", "processor.resumed")


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_767_225_600.123, "2026-01-01T00:00:00.123Z"),
        (-1.0, "1969-12-31T23:59:59.000Z"),
        (1e30, "9999-12-31T23:59:59.000Z"),
        (-1e30, "0001-01-01T00:00:00.000Z"),
    ],
)
def test_a_moment_is_written_in_utc_with_milliseconds(epoch: float, text: str) -> None:
    assert to_iso(epoch) == text


@given(st.integers(0, 4_000_000_000_000))
def test_a_moment_reads_back_to_the_millisecond(milliseconds: int) -> None:
    read = datetime.strptime(to_iso(milliseconds / 1000), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert round(read.timestamp() * 1000) == pytest.approx(milliseconds, abs=1)


def test_canonical_json_is_sorted_compact_utf_8() -> None:
    assert (
        canonical_json({"b": [1, 2.5, None], "a": {"é": True}})
        == '{"a":{"é":true},"b":[1,2.5,null]}'.encode()
    )


@given(DOCUMENTS)
def test_canonical_json_has_one_spelling_and_reads_back(document: Any) -> None:
    written = canonical_json(document)
    assert json.loads(written) == document
    assert canonical_json(json.loads(written)) == written


@given(st.dictionaries(st.text(), SCALARS))
def test_the_order_of_keys_does_not_matter(document: dict[str, Any]) -> None:
    assert canonical_json(dict(reversed(document.items()))) == canonical_json(document)


def test_a_file_name_that_is_not_utf_8_is_escaped() -> None:
    written = canonical_json({"path": "bad\udcff.mp4"})
    assert written == b'{"path":"bad\\udcff.mp4"}'
    assert json.loads(written.decode()) == {"path": "bad\udcff.mp4"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="JSON"):
        canonical_json({"x": value})


def test_an_envelope_has_five_fields_and_the_webhooks_metadata() -> None:
    plain = {
        "id": "evt_1",
        "event": "export.ready",
        "data": {"export_id": "exp_1"},
        "api_version": "2024-01",
        "created_at": "1970-01-01T00:00:00.000Z",
    }
    data = {"export_id": "exp_1"}
    assert build_envelope("evt_1", "export.ready", data, 0.0) == plain
    assert build_envelope("evt_1", "export.ready", data, 0.0, {"n8n": 1}) == plain | {"metadata": {"n8n": 1}}
