from __future__ import annotations

import pytest

from vvwatch.core.locations import (
    Address,
    addresses_of,
    azure_address,
    check_key,
    gcs_address,
    normal_prefix,
    s3_address,
)
from vvwatch.errors import InvalidInput


@pytest.mark.parametrize("prefix", ["", "in", "in/", "/in/", "a//b/", "é/", "e\u0301/", "a b", "clip.mp4"])
def test_a_prefix_is_kept_as_it_came(prefix: str) -> None:
    assert normal_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["a\0", "..", "../", "a/../b", "\udcff", "é" * 2_049])
def test_an_unusable_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidInput):
        normal_prefix(prefix)


@pytest.mark.parametrize("key", ["", "a\0", "\udcff.mp4", "a" * 4_097])
def test_an_impossible_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput):
        check_key(key)


@pytest.mark.parametrize(
    "key", ["a", "a+b", "a b", "%2F", "é", "e\u0301", "🎬", "a//b", "/a", "a/../b", "a" * 4_096]
)
def test_any_other_key_can_exist(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        (s3_address("b"), "s3://b/a b%2F/\u00e9"),
        (s3_address("b", "http://minio:9000/"), "http://minio:9000/b/a%20b%252F/%C3%A9"),
        (gcs_address("b"), "gs://b/a b%2F/\u00e9"),
        (gcs_address("b", "http://e:1"), "http://e:1/b/a%20b%252F/%C3%A9"),
        (azure_address("acc", "c"), "https://acc.blob.core.windows.net/c/a%20b%252F/%C3%A9"),
        (azure_address("acc", "c", "https://e/acc/"), "https://e/acc/c/a%20b%252F/%C3%A9"),
    ],
)
def test_an_address_is_that_of_one_object(address: Address, uri: str) -> None:
    assert address.of("a b%2F/\u00e9") == uri
    assert address.key_at(uri) == "a b%2F/\u00e9"


@pytest.mark.parametrize("address", [s3_address("b"), s3_address("b", "http://e"), azure_address("a", "c")])
@pytest.mark.parametrize(
    "key", ["/a", "a//b", "a/", "a+b", "%", "#?&", "e\u0301", "\u00e9", "\U0001f3ac", "a\n", "a" * 1024]
)
def test_every_key_comes_back_from_its_address(address: Address, key: str) -> None:
    assert address.key_at(address.of(key)) == key


def test_a_location_is_no_object_and_another_one_is_not_in_it() -> None:
    address = s3_address("b", "http://e:1")
    assert [address.key_at(each) for each in ("http://e:1/b", "http://e:1/b/")] == ["", ""]
    for other in ("http://e:1/bb/a", "http://e:11/b/a", "s3://b/a", "http://e:1/", ""):
        assert address.key_at(other) is None


def test_a_person_may_leave_the_endpoint_out() -> None:
    place = {"bucket": "b", "endpoint_url": "http://e"}
    assert [each.base for each in addresses_of("s3", place)] == ["http://e/b/", "s3://b/"]
    assert [each.base for each in addresses_of("gcs", {"bucket": "b"})] == ["gs://b/"]
    assert [each.base for each in addresses_of("azure", {"storage_account": "a", "container": "c"})] == [
        "https://a.blob.core.windows.net/c/"
    ]
    assert addresses_of("local", {"root": "/srv"}) == ()
