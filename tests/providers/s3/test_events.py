"""What a message of S3 and its likes comes to: the shapes of the public documentation, and hostile ones."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.changes import EventKind, ObjectEvent, Order
from vvwatch.core.objects import StorageObject
from vvwatch.providers.messages import ParsedMessage
from vvwatch.providers.s3.events import parse_message

BUCKET = "media"
AT = "2026-11-22T05:12:33.123Z"
AT_SECONDS = 1_795_324_353.123
ETAG = "d41d8cd98f00b204e9800998ecf8427e"


def record(
    key: str = "in/a.mp4", name: str = "ObjectCreated:Put", bucket: str = BUCKET, **changes: Any
) -> Any:
    """One record of the notification of S3; `changes` are those of its object."""
    subject = {"key": key, "size": 1024, "eTag": ETAG, "sequencer": "0055AED6DCD90281E5", **changes}
    return {
        "eventVersion": "2.3",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": AT,
        "eventName": name,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "172.16.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "vvwatch",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": {name: value for name, value in subject.items() if value is not None},
        },
    }


def direct(*records: Any) -> str:
    return json.dumps({"Records": records})


def through_sns(message: str, **changes: Any) -> str:
    envelope = {
        "Type": "Notification",
        "MessageId": "95df01b4-ee98-5cb9-9903-4c221d41eb5e",
        "TopicArn": "arn:aws:sns:us-west-2:123456789012:changes",
        "Subject": "Amazon S3 Notification",
        "Message": message,
        "Timestamp": AT,
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "SigningCertURL": "https://sns.us-west-2.amazonaws.com/x.pem",
        "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
    }
    return json.dumps({**envelope, **changes})


def event_bridge(
    key: str = "in/a.mp4", kind: str = "Object Created", bucket: str = BUCKET, **changes: Any
) -> str:
    return json.dumps(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": kind,
            "source": "aws.s3",
            "account": "123456789012",
            "time": AT,
            "region": "us-west-2",
            "resources": [f"arn:aws:s3:::{bucket}"],
            "detail": {
                "version": "0",
                "bucket": {"name": bucket},
                "object": {
                    "key": key,
                    "size": 1024,
                    "etag": ETAG,
                    "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                    "sequencer": "617f08299329d189",
                    **changes,
                },
                "request-id": "N4N7GDK58NMKJ12R",
                "requester": "123456789012",
                "source-ip-address": "1.2.3.4",
                "reason": "PutObject",
            },
        }
    )


TEST_EVENT = json.dumps(
    {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": AT,
        "Bucket": BUCKET,
        "RequestId": "5582815E1AEA5ADF",
        "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
    }
)


def heard(body: str, *, aws: bool = True) -> ParsedMessage:
    return parse_message(body, BUCKET, aws=aws)


def only(body: str, *, aws: bool = True) -> ObjectEvent:
    events, refusal = heard(body, aws=aws)
    assert refusal is None
    (event,) = events
    return event


def found(key: str) -> StorageObject:
    """As a listing gives the object that the events tell of."""
    return StorageObject(key, f"{ETAG}:1024", 1024, AT_SECONDS, AT_SECONDS)


@pytest.mark.parametrize(
    "body",
    [
        direct(record()),
        through_sns(direct(record())),
        event_bridge(),
        through_sns(event_bridge()),
    ],
)
def test_event_then_list_once_an_event_tells_the_identity_of_a_listing(body: str) -> None:
    event = only(body)
    assert (event.kind, event.keys, event.found) == (EventKind.CREATED, ("in/a.mp4",), found("in/a.mp4"))


def test_event_then_list_once_quotes_around_an_etag_are_none_of_it() -> None:
    assert only(direct(record(eTag=f'"{ETAG}"'))).found == found("in/a.mp4")


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.4", "2.5", "2.6", None])
def test_all_versions_of_the_records_are_read(version: str | None) -> None:
    assert only(direct({**record(), "eventVersion": version})).found


@pytest.mark.parametrize("way", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
@pytest.mark.parametrize("start", ["", "s3:"])
def test_complete_multipart_event_is_as_good_as_every_other_creation(way: str, start: str) -> None:
    event = only(direct(record(name=f"{start}ObjectCreated:{way}", eTag=f"{ETAG}-2")))
    assert event.kind is EventKind.CREATED
    assert event.found
    assert event.found.version == f"{ETAG}-2:1024"


@pytest.mark.parametrize(
    "name",
    [
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "LifecycleExpiration:Delete",
        "LifecycleExpiration:DeleteMarkerCreated",
    ],
)
def test_noncurrent_version_event_a_delete_or_its_marker_is_looked_up(name: str) -> None:
    event = only(direct(record(name=name, size=None, versionId="096fKKXTRTtl3on89fVO.nfljtsv6qko")))
    assert (event.kind, event.keys, event.found) == (EventKind.REMOVED, ("in/a.mp4",), None)


def test_a_delete_through_event_bridge_is_looked_up() -> None:
    event = only(event_bridge(kind="Object Deleted", size=None))
    assert (event.kind, event.found) == (EventKind.REMOVED, None)


@pytest.mark.parametrize(
    "body",
    [
        direct(record(name="ObjectRestore:Completed")),
        direct(record(name="s3:ObjectRestore:Completed")),
        event_bridge(kind="Object Restore Completed"),
    ],
)
def test_glacier_then_restored_the_end_of_a_restore_is_looked_up(body: str) -> None:
    event = only(body)
    assert (event.kind, event.keys, event.found) == (EventKind.RESTORED, ("in/a.mp4",), None)


def test_create_delete_swapped_sequencers_are_given_on() -> None:
    order = Order()
    created = only(direct(record(sequencer="0055AED6DCD90281E5")))
    removed = only(direct(record(name="ObjectRemoved:Delete", sequencer="0055AED6DCD90281E6")))
    assert [order.is_overtaken(event) for event in (removed, created)] == [False, True]
    assert only(event_bridge()).sequencer == "617f08299329d189"
    assert [only(direct(record(sequencer=bad))).sequencer for bad in (None, 7, "", "x", "A" * 65)] == [""] * 5


HOSTILE = [
    "a+b",
    "a b",
    "%2F",
    "100%",
    "a%zz",
    "é",
    "e\u0301",
    "🎬",
    "//",
    "/a",
    "a&b=c",
    "a\nb",
    "?#;",
    "\\",
]


@pytest.mark.parametrize("key", HOSTILE)
def test_keys_of_aws_are_decoded_as_a_form_and_those_of_event_bridge_are_raw(key: str) -> None:
    event = only(direct(record(quote_plus(key, safe="/"))))
    assert (event.keys, event.found) == ((key,), found(key))
    assert only(event_bridge(key)).keys[0] == key


@pytest.mark.parametrize("key", HOSTILE)
@pytest.mark.parametrize(
    ("source", "encoded"),
    [
        ("aws:s3", quote_plus),
        ("minio:s3", quote_plus),
        ("minio:s3", lambda key: quote(key, safe="")),
        ("ceph:s3", str),
        ("aws:s3", str),  # an old Ceph
        (None, str),
    ],
)
def test_keys_of_other_stores_may_be_raw_or_encoded_and_no_guess_is_taken_for_the_truth(
    source: str | None, encoded: Any, key: str
) -> None:
    said = encoded(key)
    event = only(direct({**record(said), "eventSource": source}), aws=False)
    assert key in event.keys
    assert event.found in (None, found(key))
    assert (event.found is None) == (len(event.keys) == 2)


def test_the_likeliest_spelling_comes_first() -> None:
    said = record("a+b%2Fc")
    assert only(direct({**said, "eventSource": "minio:s3"}), aws=False).keys == ("a b/c", "a+b%2Fc")
    assert only(direct({**said, "eventSource": "ceph:s3"}), aws=False).keys == ("a+b%2Fc", "a b/c")
    assert only(direct({**said, "eventSource": "ceph:s3"})).keys == ("a+b%2Fc", "a b/c")
    assert only(event_bridge("a+b%2Fc")).keys == ("a+b%2Fc", "a b/c")
    assert only(event_bridge("a+b%2Fc")).found is None


@pytest.mark.parametrize(
    "changes",
    [
        {"size": -1},
        {"size": "1024"},
        {"size": True},
        {"size": 1.5},
        {"size": 1 << 63},
        {"size": None},
        {"eTag": None},
        {"eTag": ""},
        {"eTag": '""'},
        {"eTag": "a\x00b"},
        {"eTag": 7},
    ],
)
def test_an_event_that_does_not_tell_the_whole_identity_is_looked_up(changes: dict[str, Any]) -> None:
    event = only(direct(record(**changes)))
    assert (event.keys, event.found) == (("in/a.mp4",), None)


@pytest.mark.parametrize("at", [None, "", "yesterday", "2026-11-22T05:12:33", 7])
def test_an_event_of_no_known_moment_is_looked_up(at: Any) -> None:
    assert only(direct({**record(), "eventTime": at})).found is None


@pytest.mark.parametrize(
    "body",
    [
        TEST_EVENT,
        through_sns(TEST_EVENT),
        direct(),
        direct(record(name="ObjectTagging:Put")),
        direct(record(name="ObjectRestore:Post")),
        direct(record(name="LifecycleTransition")),
        event_bridge(kind="Object Tags Added"),
        event_bridge(kind="Object ACL Updated"),
    ],
)
def test_poison_matrix_what_tells_nothing_is_no_refusal(body: str) -> None:
    assert heard(body) == ParsedMessage(())


@pytest.mark.parametrize(
    ("reason", "body"),
    [
        ("malformed", ""),
        ("malformed", "not JSON"),
        ("malformed", "[" * 100_000),
        ("malformed", '{"a":' * 100_000),
        ("malformed", "9" * 5_000),
        ("malformed", "[]"),
        ("malformed", "null"),
        ("malformed", "\ud800\x00"),
        ("malformed", direct(record()) + " " * (1 << 20)),
        ("malformed", direct(*[record()] * 1_001)),
        ("malformed", direct(7)),
        ("malformed", direct({})),
        ("malformed", direct(record(key=""))),
        ("malformed", direct(record(key="a%00"))),
        ("malformed", direct(record(key="%FF"))),
        ("malformed", direct(record(key="\ud800"))),
        ("malformed", direct(record(key="a" * 5_000))),
        ("malformed", direct({**record(), "eventVersion": "3.0"})),
        ("malformed", direct({**record(), "eventName": ["ObjectCreated:Put"]})),
        ("malformed", through_sns("not JSON")),
        ("malformed", through_sns(through_sns(through_sns(direct(record()))))),
        ("malformed", event_bridge(key="")),
        ("foreign", "{}"),
        ("foreign", '{"Type": [], "Records": {}}'),
        ("foreign", direct(record(bucket="others"))),
        ("foreign", through_sns(direct(record(bucket="others")))),
        ("foreign", event_bridge(bucket="others")),
        ("foreign", event_bridge().replace("aws.s3", "aws.ec2")),
        ("foreign", through_sns("", Type="SubscriptionConfirmation")),
        ("malformed", direct(record(bucket="others"), {})),
    ],
)
def test_poison_matrix_the_reason_of_a_refusal(reason: str, body: str) -> None:
    events, refusal = heard(body)
    assert events == ()
    assert refusal
    assert refusal.reason == reason
    assert refusal.detail
    assert len(refusal.excerpt) <= 500
    assert not refusal.excerpt or refusal.excerpt.isprintable()


def test_poison_matrix_what_is_ours_among_others_is_used() -> None:
    body = direct(record("b", bucket="others"), record("a"), {}, record("c", name="ObjectTagging:Put"))
    assert only(body).found == found("a")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
WORDS = st.sampled_from(
    [
        "Records",
        "s3",
        "bucket",
        "name",
        "object",
        "key",
        "size",
        "eTag",
        "detail",
        "detail-type",
        "Type",
        "Message",
    ]
)


@given(st.text() | JSON.map(json.dumps) | st.dictionaries(WORDS, JSON).map(json.dumps), st.booleans())
def test_arbitrary_messages_never_raise_and_tell_nothing(body: str, aws: bool) -> None:
    assert heard(body, aws=aws).events == ()


@given(st.data())
def test_a_damaged_event_never_raises_and_tells_of_our_bucket_alone(data: st.DataObject) -> None:
    bucket = data.draw(st.sampled_from([BUCKET, "others"]))
    name = data.draw(
        st.sampled_from(["ObjectCreated:Put", "ObjectRemoved:Delete", "ObjectRestore:Completed"])
    )
    whole = data.draw(
        st.sampled_from(
            [{"Records": [record(bucket=bucket, name=name)]}, json.loads(event_bridge(bucket=bucket))]
        )
    )
    place: Any = json.loads(json.dumps(whole))
    root = place
    while isinstance(place, dict | list) and place:
        at = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[at], dict | list) or data.draw(st.integers(0, 3)) == 0:
            place[at] = data.draw(JSON)
            break
        place = place[at]
    body = json.dumps(root)
    assert heard(body).events == () or bucket == BUCKET or '"others"' not in body
