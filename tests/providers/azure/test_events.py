"""What an event of a storage account tells, and that nothing else is told whatever stands in a message."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.gcs.test_events import JSON
from vvwatch.core.changes import EventKind, ObjectEvent, Order
from vvwatch.core.objects import StorageObject
from vvwatch.providers.azure.events import parse_message
from vvwatch.providers.azure.listing import is_usable_key, parse_page

ACCOUNT, CONTAINER = "studio", "media"
KEY = "in/a.mp4"
AT = "2026-11-22T10:57:52.9584103Z"
SEQUENCER = "00000000000004420000000000028963"
ODD_KEYS = [
    "a+b",
    "a b",
    "a%20b",
    "a%2Fb",
    "%",
    "é",
    "e\u0301",
    "🎬.mp4",
    "a//b",
    "/a",
    "a?b#c",
    "a\nb",
    "x/",
]


def change(kind: str = "BlobCreated", key: str = KEY, *, container: str = CONTAINER, **data: Any) -> Any:
    """An event in Event Grid's own schema, as its documentation has it; what is None in the data is left out."""
    said = {
        "api": "PutBlockList",
        "clientRequestId": "6d79dbfb-0e37-4fc4-981f-442c9ca65760",
        "requestId": "831e1650-001e-001b-66ab-eeb76e000000",
        "eTag": '"0x8D4BCC2E4835CD0"',
        "contentType": "video/mp4",
        "contentLength": 524288,
        "blobType": "BlockBlob",
        "url": f"https://{ACCOUNT}.blob.core.windows.net/{container}/{quote(key, errors='replace')}",
        "sequencer": SEQUENCER,
        "storageDiagnostics": {"batchId": "b68529f3-68cd-4744-baa4-3c0498ec19f0"},
        **data,
    }
    return {
        "topic": f"/subscriptions/1/resourceGroups/Storage/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}",
        "subject": f"/blobServices/default/containers/{container}/blobs/{key}",
        "eventType": f"Microsoft.Storage.{kind}",
        "eventTime": AT,
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "data": {name: value for name, value in said.items() if value is not None},
        "dataVersion": "",
        "metadataVersion": "1",
    }


def in_cloud_schema(event: dict[str, Any]) -> dict[str, Any]:
    """The same as CloudEvents 1.0 has it."""
    names = {"topic": "source", "eventType": "type", "eventTime": "time"}
    kept = {names.get(name, name): value for name, value in event.items() if not name.endswith("Version")}
    return {**kept, "specversion": "1.0"}


def encoded(event: object) -> str:
    """As Event Grid puts it into a queue."""
    return b64encode(json.dumps(event).encode()).decode()


def events(body: object) -> tuple[ObjectEvent, ...]:
    found, refusal = parse_message(encoded(body), ACCOUNT, CONTAINER)
    assert refusal is None
    return found


def event(body: object) -> ObjectEvent:
    (found,) = events(body)
    return found


def listed(etag: str, size: int, modified: str) -> StorageObject:
    blob = (
        f"<Last-Modified>{modified}</Last-Modified><Etag>{etag}</Etag><Content-Length>{size}</Content-Length>"
    )
    page = (
        "<EnumerationResults><Blobs><Blob><Name>in/a.mp4</Name><Properties>"
        f"{blob}</Properties></Blob></Blobs><NextMarker/></EnumerationResults>"
    )
    (found,) = parse_page(page.encode()).listed.objects
    return found


@pytest.mark.parametrize("api", ["PutBlob", "PutBlockList"])
@pytest.mark.parametrize("etag", ["0x8D4BCC2E4835CD0", '"0x8D4BCC2E4835CD0"'])
def test_event_then_list_once_an_event_and_a_listing_tell_the_same_version(api: str, etag: str) -> None:
    found = event(change(api=api, eTag=etag)).found
    row = listed("0x8D4BCC2E4835CD0", 524288, "Sun, 22 Nov 2026 10:57:52 GMT")
    assert found is not None
    assert found[:3] == row[:3]
    assert abs(found.modified_at - row.modified_at) <= 1
    assert found.modified_at == datetime.fromisoformat(AT).timestamp()


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(change()),
        json.dumps([change()]),
        f" {json.dumps(change())}\n",
        json.dumps(in_cloud_schema(change())),
        encoded(change()),
        encoded([change()]),
        encoded(in_cloud_schema(change())),
    ],
)
def test_every_schema_and_encoding_tells_the_same(body: str) -> None:
    assert parse_message(body, ACCOUNT, CONTAINER).events == (event(change()),)


@pytest.mark.parametrize("key", ODD_KEYS)
def test_keys_are_taken_from_the_subject_as_they_are(key: str) -> None:
    found = event(change(key=key))
    assert found.keys == (key,)
    assert found.found is not None
    assert found.found.key == key


@pytest.mark.parametrize(
    ("url", "keys"),
    [
        (f"https://studio.blob.core.windows.net/{CONTAINER}/a%20b", ("a%20b", "a b")),
        (f"https://studio.blob.core.windows.net/{CONTAINER}/other", ("a%20b", "other")),
        (f"https://studio.blob.core.windows.net/{CONTAINER}/..", ("a%20b",)),
        (f"https://studio.blob.core.windows.net/{CONTAINER}/%FF", ("a%20b",)),
        ("https://studio.blob.core.windows.net/other/a%2520b", ("a%20b",)),
        ("https://[studio", ("a%20b",)),
        ("", ("a%20b",)),
        (7, ("a%20b",)),
    ],
)
def test_keys_of_which_the_address_says_otherwise_are_looked_up_in_each_spelling(
    url: object, keys: tuple[str, ...]
) -> None:
    found = event(change(key="a%20b", url=url))
    assert (found.keys, found.found) == (keys, None)


@pytest.mark.parametrize("api", ["CopyBlob", "FlushWithClose", "SftpCommit", "AppendFile", None, 7])
def test_hns_copy_is_told_at_its_start_and_looked_up(api: object) -> None:
    found = event(change(api=api))
    assert (found.kind, found.keys, found.found) == (EventKind.CREATED, (KEY,), None)


@pytest.mark.parametrize("api", ["CreateFile", "SftpCreate"])
def test_a_file_that_was_only_begun_tells_nothing(api: str) -> None:
    assert events(change(api=api, contentLength=0)) == ()
    assert event(change(api=api, contentLength=7)).found is None


@pytest.mark.parametrize(
    "without",
    [
        {"eTag": None},
        {"eTag": ""},
        {"eTag": 7},
        {"contentLength": None},
        {"contentLength": "7"},
        {"contentLength": True},
        {"contentLength": -1},
        {"contentLength": 1 << 63},
        {"blobType": "AppendBlob"},
    ],
    ids=str,
)
def test_a_blob_that_is_not_all_told_is_looked_up(without: dict[str, Any]) -> None:
    assert event(change(**without)).found is None


@pytest.mark.parametrize("at", [None, "", "yesterday", "2026-11-22T10:57:52", 7])
def test_a_blob_whose_time_is_not_told_is_looked_up(at: object) -> None:
    assert event({**change(), "eventTime": at}).found is None


@pytest.mark.parametrize("api", ["DeleteBlob", "DeleteFile", "SftpRemove"])
def test_a_deleted_blob_is_removed(api: str) -> None:
    found = event(change("BlobDeleted", api=api, eTag=None, contentLength=None))
    assert (found.kind, found.keys, found.found) == (EventKind.REMOVED, (KEY,), None)


def renamed(source: str, destination: str, container: str = CONTAINER) -> Any:
    url = f"https://{ACCOUNT}.dfs.core.windows.net/"
    urls = {"sourceUrl": url + quote(source), "destinationUrl": url + quote(destination)}
    key = destination.partition("/")[2]
    return change("BlobRenamed", key, container=container, api="RenameFile", url=None, **urls)


def test_a_renamed_blob_is_removed_and_created() -> None:
    before, after = events(renamed(f"{CONTAINER}/old ü.mp4", f"{CONTAINER}/new ü.mp4"))
    assert (before.kind, before.keys, before.sequencer) == (EventKind.REMOVED, ("old ü.mp4",), "")
    assert (after.kind, after.keys, after.found) == (EventKind.CREATED, ("new ü.mp4",), None)


def test_a_blob_renamed_across_containers_is_told_as_far_as_it_is_ours() -> None:
    (gone,) = events(renamed(f"{CONTAINER}/a", "other/a", "other"))
    assert (gone.kind, gone.keys) == (EventKind.REMOVED, ("a",))
    (come,) = events(renamed("other/a", f"{CONTAINER}/a"))
    assert (come.kind, come.keys) == (EventKind.CREATED, ("a",))
    assert reason(renamed("other/a", "other/b", "other")) == "foreign"


def test_glacier_then_restored_a_blob_that_left_the_archive_is_looked_up() -> None:
    archived = event(change(accessTier="Archive")).found
    assert archived is not None
    assert archived.archived
    found = event(change("BlobTierChanged", api="SetBlobTier", accessTier="Hot", eTag=None))
    assert (found.kind, found.keys, found.found) == (EventKind.RESTORED, (KEY,), None)
    assert events(change("BlobTierChanged", api="SetBlobTier", accessTier="Archive")) == ()
    assert event(change("BlobTierChanged", api="SetBlobTier")).kind is EventKind.RESTORED


def test_noncurrent_version_event_is_looked_up_and_concludes_nothing() -> None:
    found = event(change("BlobDeleted", url=f"https://x/{CONTAINER}/{KEY}?versionid=2026-11-22T10:00:00Z"))
    assert (found.kind, found.keys, found.found) == (EventKind.REMOVED, (KEY,), None)


def test_create_delete_swapped_the_later_sequencer_wins() -> None:
    created = event(change(sequencer="0000000000000281000000000002F5CA"))
    removed = event(change("BlobDeleted", sequencer="0000000000000281000000000002F5CB"))
    order = Order()
    assert [order.is_overtaken(each) for each in (removed, created, removed)] == [False, True, False]
    assert event(change(sequencer="x" * 32)).sequencer == ""
    assert event(change(sequencer=7)).sequencer == ""


@pytest.mark.parametrize(
    "body",
    [
        {**change(), "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent"},
        {**change(), "eventType": "Microsoft.EventGrid.SubscriptionDeletedEvent", "topic": "", "subject": ""},
        {"specversion": "1.0", "type": "Microsoft.EventGrid.SubscriptionValidationEvent"},
        change("AsyncOperationInitiated"),
        change("DirectoryCreated"),
        [],
    ],
)
def test_what_nobody_asked_for_tells_nothing(body: object) -> None:
    assert events(body) == ()


def reason(body: object) -> str:
    found, refusal = parse_message(body if isinstance(body, str) else encoded(body), ACCOUNT, CONTAINER)
    assert refusal is not None
    assert found == ()
    assert refusal.excerpt.isprintable()
    return refusal.reason


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (change(container="other"), "foreign"),
        (change("BlobDeleted", container="media2"), "foreign"),
        (change("DirectoryCreated", container="other"), "foreign"),
        (change(container="other", api="CreateFile", contentLength=0), "foreign"),
        ({**change(), "topic": change()["topic"].replace(ACCOUNT, "studio2")}, "foreign"),
        ({**change(), "topic": "/subscriptions/1/providers/Microsoft.Web/sites/studio"}, "foreign"),
        ({**change(), "subject": "/blobServices/default/containers/media"}, "foreign"),
        ({**change(), "eventType": "Contoso.Done"}, "foreign"),
        ({**change(), "eventType": None}, "malformed"),
        ({**change(), "topic": None}, "malformed"),
        ({**change(), "subject": 7}, "malformed"),
        ({**change(), "data": []}, "malformed"),
        (change(key="a/../b"), "malformed"),
        (change(key="a\\b"), "malformed"),
        (change(key="a\0b"), "malformed"),
        (change(key="\ud800"), "malformed"),
        ([[change()]], "malformed"),
        ("hello", "malformed"),
        ("", "malformed"),
        ("{", "malformed"),
        ("aGVsbG8=", "malformed"),
        ("7", "malformed"),
        ("[" * 100_000, "malformed"),
        ("{" + " " * (1 << 18), "malformed"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_poison_matrix_what_cannot_be_used_is_refused(body: object, why: str) -> None:
    assert reason(body) == why


def test_poison_matrix_a_message_of_ours_and_of_others_is_ours() -> None:
    assert events([change(container="other"), change(), "x"]) == (event(change()),)
    assert reason([change(container="other"), "x"]) == "malformed"


EVENTS = st.builds(
    lambda body, changes, cloud: in_cloud_schema({**body, **changes}) if cloud else {**body, **changes},
    st.builds(
        change,
        st.sampled_from(["BlobCreated", "BlobDeleted", "BlobRenamed", "BlobTierChanged", "DirectoryRenamed"]),
        st.sampled_from(ODD_KEYS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
        container=st.sampled_from([CONTAINER, "other"]),
        sourceUrl=st.sampled_from([f"https://x/{CONTAINER}/a", "https://x/other/a", None]) | JSON,
    ),
    st.dictionaries(
        st.sampled_from(["topic", "subject", "eventType", "eventTime", "data"]), JSON, max_size=1
    ),
    st.booleans(),
)


@given(EVENTS | JSON | st.lists(EVENTS | JSON, max_size=3))
def test_whatever_stands_in_a_message_nothing_but_a_blob_of_the_container_is_told(body: object) -> None:
    text = json.dumps(body)
    found, refusal = parse_message(b64encode(text.encode()).decode(), ACCOUNT, CONTAINER)
    assert not (found and refusal)
    assert not found or f"/containers/{CONTAINER}/" in text or f"/{CONTAINER}/" in text
    for each in found:
        assert each.keys
        assert all(is_usable_key(key) for key in each.keys)
        assert each.found is None or each.keys == (each.found.key,)


@given(st.text() | st.binary(max_size=50).map(lambda data: b64encode(data).decode()))
def test_whatever_text_a_message_is_it_is_refused_or_tells_nothing(text: str) -> None:
    assert parse_message(text, ACCOUNT, CONTAINER).events == ()
