"""What a notification of Google Cloud Storage tells, and that nothing else is told whatever stands there."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.gcs.gcs_places import described
from vvwatch.core.changes import EventKind, ObjectEvent, Order
from vvwatch.core.objects import StorageObject
from vvwatch.providers.gcs.events import parse_message
from vvwatch.providers.gcs.listing import is_usable_key, parse_object

BUCKET = "media"
GENERATION = "1795358623709563"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
ODD_KEYS = ["a+b", "a b", "a%20b", "a%2Fb", "é", "e\u0301", "🎬.mp4", "a//b", "/a", "a\nb", '"', "a\\b", "x/"]


def notification(
    event_type: str = "OBJECT_FINALIZE", key: str = "in/a.mp4", generation: str = GENERATION, **changes: Any
) -> dict[str, Any]:
    """As the documentation of Pub/Sub notifications has it; what is changed to None is left out."""
    resource = {
        "kind": "storage#object",
        "id": f"{BUCKET}/{key}/{generation}",
        "bucket": BUCKET,
        "metageneration": "1",
        "contentType": "video/mp4",
        "timeCreated": "2026-11-22T10:57:52.258Z",
        "storageClass": "STANDARD",
        "md5Hash": "7Qdih1MuhjZehB6Sv8UNjA==",
        "etag": "CPu7qPn3sv8CEAE=",
        **described(key, 0, 524288),
        "generation": generation,
    }
    attributes = {
        "notificationConfig": f"projects/_/buckets/{BUCKET}/notificationConfigs/3",
        "eventType": event_type,
        "payloadFormat": "JSON_API_V1",
        "bucketId": BUCKET,
        "objectId": key,
        "objectGeneration": generation,
        "eventTime": "2026-11-22T10:57:52.261321Z",
        **changes,
    }
    return {
        "data": b64encode(json.dumps(resource).encode()).decode(),
        "attributes": {name: value for name, value in attributes.items() if value is not None},
        "messageId": "1",
        "publishTime": "2026-11-22T10:57:52.4Z",
    }


def event(message: dict[str, Any]) -> ObjectEvent:
    (found,) = parse_message(message, BUCKET).events
    return found


def reason(message: object) -> str:
    refusal = parse_message(message, BUCKET).refusal
    assert refusal is not None
    return refusal.reason


def test_event_then_list_once_an_event_and_a_listing_tell_the_same_object() -> None:
    found = event(notification()).found
    assert found == parse_object(json.dumps(described("in/a.mp4", int(GENERATION), 524288)).encode())
    assert found is not None
    assert found.version == GENERATION


@pytest.mark.parametrize("key", ODD_KEYS)
def test_keys_are_taken_as_they_are(key: str) -> None:
    found = event(notification(key=key))
    assert found.keys == (key,)
    assert found.found is not None
    assert found.found.key == key


@pytest.mark.parametrize(
    "without",
    [
        {"payloadFormat": "NONE"},
        {"payloadFormat": None},
        {"objectGeneration": "1795358623709564"},
        {"objectId": "in/b.mp4"},
    ],
)
def test_an_object_that_is_not_all_told_is_looked_up(without: dict[str, Any]) -> None:
    found = event(notification(**without))
    assert (found.kind, found.found) == (EventKind.CREATED, None)


@pytest.mark.parametrize("data", ["", "%%", "e30=", b64encode(b"\xff").decode(), 7, None])
def test_data_that_describe_no_object_are_none(data: object) -> None:
    assert event({**notification(), "data": data}).found is None


@pytest.mark.parametrize("event_type", ["OBJECT_DELETE", "OBJECT_ARCHIVE"])
def test_the_end_of_an_object_is_its_removal(event_type: str) -> None:
    found = event(notification(event_type))
    assert (found.kind, found.keys, found.found) == (EventKind.REMOVED, ("in/a.mp4",), None)


@pytest.mark.parametrize("event_type", ["OBJECT_DELETE", "OBJECT_ARCHIVE"])
def test_noncurrent_version_event_of_what_was_overwritten_removes_nothing(event_type: str) -> None:
    message = notification(event_type, overwrittenByGeneration="1795358623709999")
    assert parse_message(message, BUCKET) == ((), None)


def test_an_overwrite_is_a_new_version() -> None:
    found = event(notification(overwroteGeneration="1795358623700000")).found
    assert found is not None
    assert found.version == GENERATION


def test_a_change_of_metadata_tells_nothing() -> None:
    assert parse_message(notification("OBJECT_METADATA_UPDATE"), BUCKET) == ((), None)


def in_order(*messages: dict[str, Any]) -> list[bool]:
    order = Order()
    return [not order.is_overtaken(event(message)) for message in messages]


def test_create_delete_swapped_the_later_generation_wins() -> None:
    created, removed = notification(), notification("OBJECT_DELETE")
    again = notification(generation="1795358623709564")
    assert in_order(created, removed, again) == [True, True, True]
    assert in_order(removed, created) == [True, False]
    assert in_order(again, removed) == [True, False]
    assert in_order(created, created) == [True, True]


@given(st.integers(1, 10**16), st.integers(1, 10**16))
def test_sequencers_compare_as_generations_do(one: int, other: int) -> None:
    messages = [notification(generation=str(each)) for each in (one, other)]
    assert in_order(*messages) == [True, one <= other]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (notification(bucketId="other"), "foreign"),
        (notification(eventType=None), "foreign"),
        ({"data": "aGVsbG8="}, "foreign"),
        ({"attributes": "x"}, "foreign"),
        ("x", "foreign"),
        (notification(objectGeneration=None), "malformed"),
        (notification(objectGeneration="-1"), "malformed"),
        (notification(objectGeneration="1" * 21), "malformed"),
        (notification(key=".."), "malformed"),
        (notification(key=""), "malformed"),
        (notification(key="a\0b"), "malformed"),
        (notification(key="\ud800"), "malformed"),
    ],
    ids=str,
)
def test_poison_matrix_what_cannot_be_used_is_refused(message: object, why: str) -> None:
    found = parse_message(message, BUCKET)
    assert found.events == ()
    assert reason(message) == why


def test_a_refusal_shows_the_beginning_in_print() -> None:
    refusal = parse_message(notification(key="a\0\ud800" * 2_000), BUCKET).refusal
    assert refusal is not None
    assert refusal.excerpt.isprintable()
    assert "OBJECT_FINALIZE" in refusal.excerpt
    assert len(refusal.excerpt) <= 500


ATTRIBUTES = st.dictionaries(
    st.sampled_from(["eventType", "bucketId", "objectId", "objectGeneration", "payloadFormat", "x"]),
    st.sampled_from([*ODD_KEYS, BUCKET, "other", "OBJECT_FINALIZE", "OBJECT_DELETE", "JSON_API_V1", "7"])
    | JSON,
)
MESSAGES = st.fixed_dictionaries(
    {}, optional={"attributes": ATTRIBUTES | JSON, "data": st.sampled_from([notification()["data"]]) | JSON}
)


@given(MESSAGES | JSON)
def test_whatever_stands_in_a_message_nothing_but_an_object_of_the_bucket_is_told(message: object) -> None:
    events, refusal = parse_message(message, BUCKET)
    assert not (events and refusal)
    for each in events:
        assert isinstance(message, dict)
        assert message["attributes"]["bucketId"] == BUCKET
        assert each.keys == (message["attributes"]["objectId"],)
        assert is_usable_key(each.keys[0])
        assert each.found is None or isinstance(each.found, StorageObject)
        assert each.found is None or each.found.key == each.keys[0]


@given(st.fixed_dictionaries({name: st.none() | JSON for name in ("name", "generation", "size", "updated")}))
def test_whatever_the_data_say_an_object_is_told_whole_or_not_at_all(resource: dict[str, Any]) -> None:
    data = b64encode(json.dumps({**described("in/a.mp4", int(GENERATION), 3), **resource}).encode()).decode()
    found = event({**notification(), "data": data}).found
    assert found is None or (found.key, found.version) == ("in/a.mp4", GENERATION)
