from __future__ import annotations

import pytest

from vvwatch.core.locations import (
    Address,
    bucket_address,
    check_key,
    normal_prefix,
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
        (bucket_address("s3", "b"), "s3://b/a b%2F/\u00e9"),
        (bucket_address("s3", "b", "http://minio:9000/"), "http://minio:9000/b/a%20b%252F/%C3%A9"),
        (bucket_address("gs", "b"), "gs://b/a b%2F/\u00e9"),
        (bucket_address("gs", "b", "http://e:1"), "http://e:1/b/a%20b%252F/%C3%A9"),
    ],
)
def test_an_address_is_that_of_one_object(address: Address, uri: str) -> None:
    assert address.of("a b%2F/\u00e9") == uri
    assert address.key_at(uri) == "a b%2F/\u00e9"


@pytest.mark.parametrize("address", [bucket_address("s3", "b"), bucket_address("s3", "b", "http://e")])
@pytest.mark.parametrize(
    "key", ["/a", "a//b", "a/", "a+b", "%", "#?&", "e\u0301", "\u00e9", "\U0001f3ac", "a\n", "a" * 1024]
)
def test_every_key_comes_back_from_its_address(address: Address, key: str) -> None:
    assert address.key_at(address.of(key)) == key


def test_a_location_is_no_object_and_another_one_is_not_in_it() -> None:
    address = bucket_address("s3", "b", "http://e:1")
    assert [address.key_at(each) for each in ("http://e:1/b", "http://e:1/b/")] == ["", ""]
    for other in ("http://e:1/bb/a", "http://e:11/b/a", "s3://b/a", "http://e:1/", ""):
        assert address.key_at(other) is None
