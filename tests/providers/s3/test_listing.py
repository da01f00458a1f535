"""The two parsers of a page of S3's listing, held against each other and against what the page was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vvwatch.core.known_pages import LEAST_OBJECTS, KnownPage, PageMemory
from vvwatch.core.objects import StorageObject
from vvwatch.ports import Irregularity
from vvwatch.providers.s3.listing import (
    Listing,
    NoListing,
    parse_by_columns,
    parse_by_elements,
    parse_listing,
)

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
OBJECT = (
    "<Contents><Key>{}</Key><LastModified>2026-11-22T05:12:33.250Z</LastModified>"
    "<ETag>&quot;{}&quot;</ETag><Size>4</Size></Contents>"
)
ONE = OBJECT.format("a.mp4", "e")
END = "<IsTruncated>false</IsTruncated>"
EXPIRY = "<RestoreExpiryDate>2026-12-01T00:00:00.000Z</RestoreExpiryDate>"
AT = datetime(2026, 11, 22, 5, 12, 33, tzinfo=UTC).timestamp()

KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
PARTS = st.sampled_from(["", "-1", "-10000"])
CLASSES = st.sampled_from([None, "STANDARD", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE", "INTELLIGENT_TIERING"])


@dataclass(frozen=True)
class Put:
    """An object, and how a page spells it."""

    key: str
    at: datetime
    etag: str
    size: int
    storage_class: str | None
    fraction: str = ".000"
    checksums: int = 0

    @property
    def listed(self) -> StorageObject:
        at = self.at.timestamp() // 1
        archived = self.storage_class in ("GLACIER", "DEEP_ARCHIVE")
        return StorageObject(self.key, f"{self.etag}:{self.size}", self.size, at, at, archived)

    def fields(self, quoted: str) -> list[str]:
        """In the order of AWS."""
        checksums = ["<ChecksumAlgorithm>CRC32</ChecksumAlgorithm>"] * self.checksums
        kept = f"<StorageClass>{self.storage_class}</StorageClass>" if self.storage_class else ""
        return [
            f"<Key>{quoted}</Key>",
            f"<LastModified>{self.at:%Y-%m-%dT%H:%M:%S}{self.fraction}Z</LastModified>",
            f"<ETag>&quot;{self.etag}&quot;</ETag>",
            *checksums,
            "<ChecksumType>FULL_OBJECT</ChecksumType>" * bool(checksums),
            f"<Size>{self.size}</Size>",
            kept,
        ]


PUTS = st.builds(
    Put,
    KEYS,
    TIMES,
    st.builds(lambda digest, parts: digest.hex() + parts, st.binary(min_size=16, max_size=16), PARTS),
    st.integers(0, 50 << 40),
    CLASSES,
    st.sampled_from(["", ".000", ".999", ".123456"]),
    st.integers(0, 2),
)
EXTRAS = st.sampled_from(
    [
        "",
        "<Owner><DisplayName>Key</DisplayName><ID>1</ID></Owner>",
        "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>",
        "<Type>Normal</Type>",
        "<!-- <Key>x</Key> -->",
        "\n  ",
        "<UserMetadata><Items><Key>k</Key></Items></UserMetadata>",
    ]
)
ENCODERS = st.sampled_from([quote_plus, quote, lambda key: quote(key, safe="/+*'()!~").replace("+", "%2B")])
FRAGMENTS = st.sampled_from([
    "<Contents>", "</Contents>", "<Contents/>", ONE, "</ListBucketResult>", "<Key>", "</Key>", "<Size>7</Size>",
    "<!--", "-->", "<![CDATA[", "]]>", "<?pi ", "?>", "&amp;", "&", "<", ">", '"', "%", "%00", "\r", "\x01",
    "\ufffe", "",
])  # fmt: skip


def page(*inside: str, encoded: bool = True, namespace: str = NAMESPACE) -> str:
    kind = "<EncodingType>url</EncodingType>" if encoded else ""
    root = f"<ListBucketResult{namespace}><Name>b</Name>{kind}"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}{"".join(inside)}</ListBucketResult>'


def contents(fields: Sequence[str]) -> str:
    return f"<Contents>{''.join(fields)}</Contents>"


def listing(text: str) -> Listing:
    return parse_listing(text.encode())


def outcome(parse: object, text: str) -> Listing | str | None:
    try:
        return parse(text)  # type: ignore[operator, no-any-return]
    except NoListing:
        return "no listing"


@given(st.lists(PUTS, min_size=1), ENCODERS)
def test_a_page_as_aws_writes_it_is_parsed_by_columns_whatever_its_keys(
    puts: list[Put], encode: object
) -> None:
    text = page(END, *(contents(put.fields(encode(put.key))) for put in puts))  # type: ignore[operator]
    found = parse_by_columns(text)
    assert found is not None
    assert found.page.objects == [put.listed for put in puts]
    assert found == parse_by_elements(text)


@given(st.data(), st.lists(PUTS, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_columns_and_elements_agree_on_whatever_a_server_may_write(
    data: st.DataObject, puts: list[Put], encoded: bool, named: bool
) -> None:
    draw = data.draw
    written = []
    for put in puts:
        raw = quote_plus(put.key) if encoded else escape(put.key)
        key = draw(st.sampled_from([raw, f"<![CDATA[{raw}]]>" if encoded else raw]))
        fields = put.fields(key)
        fields.insert(draw(st.integers(0, len(fields))), draw(EXTRAS))
        written.append(contents(draw(st.permutations(fields)) if draw(st.booleans()) else fields))
    text = page(*draw(st.permutations([END, *written])), encoded=encoded, namespace=NAMESPACE * named)
    found = outcome(parse_by_elements, text)
    assert outcome(parse_by_columns, text) in (None, found)
    if all(put.key.isprintable() for put in puts):  # else XML may have no way to write it
        assert isinstance(found, Listing)
        assert sorted(found.page.objects) == sorted(put.listed for put in puts)


@given(st.data(), st.lists(PUTS, min_size=1, max_size=3))
def test_columns_and_elements_agree_on_a_page_that_is_damaged(data: st.DataObject, puts: list[Put]) -> None:
    text = page(END, *(contents(put.fields(quote_plus(put.key))) for put in puts))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 40)))
        text = text[:start] + data.draw(FRAGMENTS) + text[end:]
    assert outcome(parse_by_columns, text) in (None, outcome(parse_by_elements, text))


@settings(max_examples=10, deadline=None)  # each parses ten large pages twice
@given(st.lists(PUTS, min_size=1, max_size=3), st.lists(st.sampled_from(["", END, "<Name/>"]), max_size=2))
def test_a_page_that_comes_again_is_parsed_as_the_first_time(puts: list[Put], extras: list[str]) -> None:
    rows = "".join(contents(put.fields(quote_plus(put.key))) for put in puts) * LEAST_OBJECTS
    once = page(rows, END, *extras)
    others = [
        page(
            rows,
            "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>",
        ),
        page(f"<!--{rows}-->", ONE, END),
        page(rows, END, encoded=False),
        page(rows, "<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes>", END),
    ]
    memory = PageMemory()
    for text in (once, once, *others, once, *others, once):
        assert outcome(lambda each: parse_listing(each.encode(), memory), text) == outcome(listing, text)


def test_a_known_page_is_not_parsed_again() -> None:
    memory, text = PageMemory(), page(ONE * LEAST_OBJECTS, END).encode()
    found = [parse_listing(text, memory).page.objects for _ in range(3)]
    assert [isinstance(each, KnownPage) for each in found] == [False, False, True]


def test_a_page_that_is_cut_anywhere_is_no_listing() -> None:
    body = page(ONE, ONE, "<CommonPrefixes><Prefix>in/</Prefix></CommonPrefixes>", END).encode()
    for length in range(len(body)):
        with pytest.raises(NoListing):
            parse_listing(body[:length])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "<html><body>Sign in</body></html>",
        "<Error><Code>InternalError</Code></Error>",
        "<ListBucketResult/>",
        page(ONE),
        page(ONE, END, END),
        page(ONE, "<IsTruncated>yes</IsTruncated>"),
        page(ONE, "<IsTruncated>true</IsTruncated>"),
        page(ONE, "<IsTruncated>true</IsTruncated><NextContinuationToken/>"),
        page(ONE, END, "<NextContinuationToken>2</NextContinuationToken>"),
        page(END, ONE.replace("<Key>a.mp4</Key>", "")),
        page(END, ONE.replace("<Key>a.mp4</Key>", "<Key/>")),
        page(END, ONE.replace("<Size>", "<Key>b.mp4</Key><Size>")),
        page(END, ONE.replace("a.mp4", "a<b/>.mp4")),
        page(END, f"<Contents>{ONE}</Contents>"),
        page(END, ONE).replace("<ListBucketResult", '<!DOCTYPE x [<!ENTITY e "e">]><ListBucketResult', 1),
    ],
)
def test_what_is_no_whole_listing_is_none(text: str) -> None:
    with pytest.raises(NoListing):
        listing(text)


def test_a_body_that_is_not_utf_8_is_no_listing() -> None:
    with pytest.raises(NoListing):
        parse_listing(page(ONE, END).encode("utf-16"))


@pytest.mark.parametrize("around", ["<!--{}-->", "<Other>{}</Other>", "<Name2><![CDATA[{}]]></Name2>"])
def test_what_only_looks_like_an_object_is_none(around: str) -> None:
    other = OBJECT.format("b.mp4", "e")
    for inside in (around.format(ONE) + other, other + around.format(ONE)):
        assert [obj.key for obj in listing(page(inside, END)).page.objects] == ["b.mp4"]


@pytest.mark.parametrize("raw", ["a\rb", "a&amp;b", "caf\u00e9", "a\x01b", "a]]>b", "%00", "%ff"], ids=ascii)
def test_columns_leave_to_xml_what_they_cannot_tell(raw: str) -> None:
    assert parse_by_columns(page(ONE, END)) is not None
    assert parse_by_columns(page(OBJECT.format(raw, "e"), END)) is None


def test_keys_that_the_server_did_not_encode_are_taken_as_they_are() -> None:
    (found,) = listing(page(OBJECT.format("a+b%20.mp4", "e"), END, encoded=False)).page.objects
    assert found.key == "a+b%20.mp4"


def test_time_is_whole_seconds_as_a_head_tells_it() -> None:
    (found,) = listing(page(ONE, END)).page.objects
    assert found.modified_at == found.changed_at == AT


def test_a_key_that_no_request_can_name_is_irregular_and_its_neighbours_are_listed() -> None:
    keys = ("a%00b", "%ff.mp4", "ok.mp4")
    found = listing(page(*(OBJECT.format(key, "e") for key in keys), END)).page
    assert [obj.key for obj in found.objects] == ["ok.mp4"]
    assert [(each.key, each.reason) for each in found.irregular] == [
        ("a\\x00b", "unusable_key"),
        ("\\xff.mp4", "undecodable_name"),
    ]


@pytest.mark.parametrize(
    "etag", ["", "<ETag/>", "<ETag></ETag>", "<ETag>&quot;&quot;</ETag>", "<ETag> </ETag>"]
)
def test_without_an_etag_the_version_is_time_and_size(etag: str) -> None:
    found = listing(page(ONE.replace("<ETag>&quot;e&quot;</ETag>", etag), END)).page
    assert found.objects == [StorageObject("a.mp4", f"@{AT:.0f}.250:4", 4, AT, AT)]
    assert not found.irregular


@pytest.mark.parametrize(
    "etag", ["e", "&quot;e&quot;", "&#34;e&#34;", '"e"', 'W/"e"', ' "e" ', "W/&quot;e&quot;"]
)
def test_an_etag_is_one_version_however_it_is_quoted(etag: str) -> None:
    (found,) = listing(page(ONE.replace("&quot;e&quot;", etag), END)).page.objects
    assert found.version == "e:4"


@pytest.mark.parametrize(
    ("old", "new", "lacking"),
    [
        ("<Size>4</Size>", "", "not give its size"),
        ("<Size>4</Size>", "<Size/>", "not give its size"),
        ("<Size>4</Size>", "<Size>-4</Size>", "not give its size"),
        ("<Size>4</Size>", "<Size>\u0664</Size>", "not give its size"),
        ("2026-11", "2026-13", "not give its time of change"),
        ("<LastModified>2026-11-22T05:12:33.250Z</LastModified>", "", "not give its time of change"),
        ("2026-11-22T05:12:33.250Z", "", "not give its time of change"),
        ("2026-11-22T05:12:33.250Z</LastModified>", "</LastModified><Size2/>", "not give its time of change"),
    ],
)
def test_an_entry_that_leaves_out_what_must_be_known_is_irregular_and_its_neighbours_are_listed(
    old: str, new: str, lacking: str
) -> None:
    found = listing(page(ONE.replace(old, new), OBJECT.format("ok.mp4", "e"), END)).page
    assert [obj.key for obj in found.objects] == ["ok.mp4"]
    ((key, reason, detail),) = [(each.key, each.reason, each.detail) for each in found.irregular]
    assert (key, reason) == ("a.mp4", "incomplete_entry")
    assert lacking in detail


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T05:12:33Z",
        "2026-11-22T05:12:33.7Z",
        "2026-11-22T05:12:33",
        "2026-11-22T06:12:33.123+01:00",
        "Sun, 22 Nov 2026 05:12:33 GMT",
        " 2026-11-22T05:12:33.123456789Z ",
    ],
)
def test_a_time_is_understood_however_a_store_writes_it(text: str) -> None:
    (found,) = listing(page(ONE.replace("2026-11-22T05:12:33.250Z", text), END)).page.objects
    assert found.modified_at == found.changed_at == AT


@pytest.mark.parametrize("encoded", [True, False])
def test_a_key_that_is_longer_than_a_request_can_name_is_irregular(encoded: bool) -> None:
    keys = ("a" * 1_024, "a" * 1_025, "ok.mp4")
    found = listing(page(*(OBJECT.format(key, "e") for key in keys), END, encoded=encoded)).page
    assert [obj.key for obj in found.objects] == [keys[0], "ok.mp4"]
    assert [(each.key, each.reason) for each in found.irregular] == [(keys[1], "key_too_long")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("<Size>4<", f"<Size>{'9' * 19}<"), "its size"),
        (("<Size>4<", f"<Size>{'9' * 5_000}<"), "its size"),
        (("&quot;e&quot;", "e" * (1 << 20)), "ETag"),
        (("2026-11-22T", "0000-11-22T"), "time of change"),
    ],
    ids=["2**63", "thousands of digits", "etag", "year 0"],
)
def test_what_is_beyond_all_measure_is_irregular_and_its_neighbours_are_listed(
    change: tuple[str, str], says: str
) -> None:
    found = listing(page(ONE.replace(*change), OBJECT.format("b.mp4", "e"), END)).page
    assert [obj.key for obj in found.objects] == ["b.mp4"]
    ((key, reason, detail),) = [(each.key, each.reason, each.detail) for each in found.irregular]
    assert (key, reason) == ("a.mp4", "incomplete_entry")
    assert says in detail


def test_a_page_of_many_stretches_is_parsed_by_columns() -> None:
    numbers = range(3_000)
    text = page(*(OBJECT.format(f"{'k' * 200}/{n}.mp4", "e") for n in numbers), END)
    found = parse_by_columns(text)
    assert found == parse_by_elements(text)
    assert found is not None
    assert len(found.page.objects) == len(numbers)


def test_folders_are_decoded_like_keys() -> None:
    group = "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>"
    found = listing(page(END, *map(group.format, ("a+b%2B/", "%ff/")))).page
    assert found.folders == ["a b+/"]
    assert [type(each) for each in found.irregular] == [Irregularity]


@pytest.mark.parametrize(
    ("status", "archived"),
    [
        ("", True),
        ("<IsRestoreInProgress>true</IsRestoreInProgress>", True),
        ("<IsRestoreInProgress>false</IsRestoreInProgress>", True),
        (f"<IsRestoreInProgress>false</IsRestoreInProgress>{EXPIRY}", False),
    ],
)
def test_an_archived_object_is_told_apart_from_one_that_was_restored(status: str, archived: bool) -> None:
    kept = f"<StorageClass>GLACIER</StorageClass><RestoreStatus>{status}</RestoreStatus></Contents>"
    (found,) = listing(page(ONE.replace("</Contents>", kept), END)).page.objects
    assert found.archived is archived
