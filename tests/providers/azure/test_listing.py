"""Azure's pages: read without a parser, and by one, which have to say the same."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.objects import StorageObject
from vvwatch.providers.azure import listing
from vvwatch.providers.azure.listing import (
    Odd,
    ParsedPage,
    epoch_seconds,
    parse_in_steps,
    parse_page,
    read_page,
)

DATE = "Sun, 22 Nov 2026 11:07:22 GMT"
AT = 1795345642.0


@dataclass(frozen=True)
class Blob:
    name: str
    etag: str = "0x8DC2A"
    size: int = 7
    date: str = DATE
    more: str = "<Content-Type>video/mp4</Content-Type><Cache-Control />"

    def __str__(self) -> str:
        return (
            f"<Blob><Name>{escape(self.name)}</Name><Properties><Creation-Time>{DATE}</Creation-Time>"
            f"<Last-Modified>{self.date}</Last-Modified><Etag>{self.etag}</Etag>"
            f"<Content-Length>{self.size}</Content-Length>{self.more}</Properties><OrMetadata /></Blob>"
        )


def folder(name: str) -> str:
    return f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>"


def page(*entries: object, marker: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://acme/" ContainerName="c">'
        f"<Prefix>a &amp; b</Prefix><MaxResults>5000</MaxResults><Blobs>{''.join(map(str, entries))}</Blobs>"
        f"<NextMarker>{escape(marker)}</NextMarker></EnumerationResults>"
    )


def read(text: str) -> ParsedPage:
    return asyncio.run(read_page(text.encode()))


def parsed(body: bytes) -> ParsedPage:
    return asyncio.run(parse_in_steps(body))


def keys(page: ParsedPage) -> list[str]:
    return [obj.key for obj in page.listed.objects]


def test_a_page_is_read() -> None:
    found = read(page(Blob("a & b/<c>.mp4"), folder("d & e/"), Blob("f", "0x1", 0), marker="2!92!MDAwMD <& "))
    assert found.listed.objects == [
        StorageObject("a & b/<c>.mp4", "0x8DC2A", 7, AT, AT),
        StorageObject("f", "0x1", 0, AT, AT),
    ]
    assert found.listed.folders == ["d & e/"]
    assert found.next_marker == "2!92!MDAwMD <& "


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\ufffe\uffff", exclude_categories=["Cc"]), max_size=20
)
NAMES = TEXTS | st.sampled_from(
    [
        "a/./b",
        "..",
        "back\\slash",
        "<Name>",
        "</Blob>",
        "]]>",
        "&amp;",
        "&#65;",
        "\n",
        "\t",
        "é",
        "e\u0301",
        " ",
        "",
        "\u00ad",
    ]
)
BLOBS = st.builds(Blob, NAMES, st.sampled_from(["0x1", "0x8DC2A"]), st.integers(0, 1 << 50))
ENTRIES = st.lists(BLOBS | st.builds(folder, NAMES), max_size=8)


@given(ENTRIES, NAMES)
def test_a_page_of_hostile_keys_needs_no_parser_and_says_what_a_parser_says(
    entries: list[object], marker: str
) -> None:
    text = page(*entries, marker=marker)
    assert read(text) == parse_page(text.encode())


CHANGES: dict[str, Callable[[str], str]] = {
    "comment": lambda text: text.replace("</Name>", "<!-- </Blob><Blob> --></Name>"),
    "cdata": lambda text: text.replace("<Name>", "<Name><![CDATA[</Name></Blob><Blob>]]>"),
    "reference": lambda text: text.replace("<Name>", "<Name>&#x41;&#66;"),
    "encoded": lambda text: text.replace("<Name>", '<Name Encoded="true">%41%EF%BF%BF'),
    "indented": lambda text: text.replace("><", ">\n  <"),
    "reordered": lambda text: text.replace(f"<Last-Modified>{DATE}</Last-Modified>", "").replace(
        "<Content-Type>", f"<Last-Modified>{DATE}</Last-Modified><Content-Type>"
    ),
    "doubled": lambda text: text.replace("<Etag>", "<Etag>0x0</Etag><Etag>"),
    "unequal": lambda text: text.replace("<Etag>0x1</Etag>", ""),
    "quoted": lambda text: text.replace("<Etag>0x1", "<Etag>&quot;0x1&quot;"),
    "archived": lambda text: text.replace("<Cache-Control />", "<AccessTier>Archive</AccessTier>"),
    "hot": lambda text: text.replace("<Cache-Control />", "<AccessTier>Hot</AccessTier>"),
    "directory": lambda text: text.replace("<Cache-Control />", "<ResourceType>directory</ResourceType>"),
    "file": lambda text: text.replace("<Cache-Control />", "<ResourceType>file</ResourceType>"),
    "version": lambda text: text.replace(
        "</Name><Prop", "</Name><VersionId>1</VersionId><IsCurrentVersion>true</IsCurrentVersion><Prop"
    ),
    "snapshot": lambda text: text.replace("</Name><Prop", "</Name><Snapshot>2026</Snapshot><Prop"),
    "deleted": lambda text: text.replace("</Name><Prop", "</Name><Deleted>true</Deleted><Prop"),
    "tall folder": lambda text: text.replace(
        "</Name></BlobPrefix>", "</Name><Properties><Etag>0x9</Etag></Properties></BlobPrefix>"
    ),
    "carriage return": lambda text: text.replace("<Name>", "<Name>\r\n"),
    "control": lambda text: text.replace("<Name>", "<Name>\x01"),
    "entity": lambda text: text.replace("<Name>", "<Name>&nbsp;"),
    "element": lambda text: text.replace("<Name>", "<Name><b/>"),
    "no size": lambda text: text.replace("<Content-Length>7<", "<Content-Length>7.0<"),
    "no date": lambda text: text.replace("11:07:22", "25:07:22"),
    "namespace": lambda text: text.replace("<EnumerationResults", '<EnumerationResults xmlns="x"'),
    "other root": lambda text: text.replace("EnumerationResults", "ListBucketResult"),
    "no marker": lambda text: text.replace("NextMarker", "LastMarker"),
    "nested": lambda text: text.replace("<Blobs>", "<Blobs><Blobs>").replace("</Blobs>", "</Blobs></Blobs>"),
    "unclosed": lambda text: text.replace("</Properties><OrMetadata /></Blob>", "", 1),
    "self-closed": lambda text: text.replace("<Blobs>", "<Blobs><Blob/>"),
    "no blobs": lambda text: text.replace("<Blobs></Blobs>", "<Blobs/>"),
}  # fmt: skip


NO_LISTING = (
    "element", "namespace", "other root", "no marker", "nested", "unclosed", "self-closed",
    "control", "entity",
)  # fmt: skip


def outcome(reading: Callable[[str], ParsedPage], text: str) -> ParsedPage | type[Exception]:
    try:
        return reading(text)
    except ValueError:
        return ValueError


PLAIN = st.builds(Blob, st.sampled_from(["a", "b/c", "&"]), st.sampled_from(["0x1", "0x2"]))


@given(
    st.lists(PLAIN | st.just(folder("d/")), max_size=4),
    st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=3),
)
def test_an_odd_page_is_left_to_the_parser_or_read_as_the_parser_does(
    entries: list[object], names: list[str]
) -> None:
    text = page(*entries, marker="m")
    for name in names:
        text = CHANGES[name](text)
    try:
        found = outcome(read, text)
    except Odd:
        return
    assert found == outcome(lambda text: parse_page(text.encode()), text)


def test_what_is_odd_and_still_xml_is_parsed() -> None:
    odd = ("comment", "reference", "indented", "reordered", "quoted", "no blobs")
    for name in odd:
        text = CHANGES[name](page(Blob("a", "0x1")) if name != "no blobs" else page())
        with pytest.raises(Odd):
            read(text)
        found = parsed(text.encode())
        assert [obj.version for obj in found.listed.objects] == ["0x1"] * (name != "no blobs"), name


def test_what_is_no_listing_is_an_error() -> None:
    for name in NO_LISTING:
        with pytest.raises(ValueError):
            parsed(CHANGES[name](page(Blob("a"))).encode())
    no_blobs = "<EnumerationResults><NextMarker/></EnumerationResults>"
    for text in ("", "{}", "<html>", "<EnumerationResults/>", no_blobs, "<a>" * 100_000):
        with pytest.raises(ValueError):
            parsed(text.encode())


@pytest.mark.parametrize(
    ("change", "lacking"), [("no size", "not give its size"), ("no date", "not give its time of change")]
)
def test_a_blob_that_leaves_out_what_must_be_known_is_irregular_and_its_neighbours_are_listed(
    change: str, lacking: str
) -> None:
    found = parsed(page(CHANGES[change](str(Blob("a"))), Blob("b")).encode())
    assert keys(found) == ["b"]
    ((key, reason, detail),) = [(each.key, each.reason, each.detail) for each in found.listed.irregular]
    assert (key, reason) == ("a", "incomplete_entry")
    assert lacking in detail


def test_a_blob_without_an_etag_has_time_and_size_for_its_version() -> None:
    for etag in ("", "<Etag/>", "<Etag></Etag>"):
        text = re.sub(r"<Etag>.*?</Etag>", etag, page(Blob("a")))
        (found,) = parsed(text.encode()).listed.objects
        assert found.version == f"@{found.modified_at:.0f}:{found.size_bytes}"


@pytest.mark.anyio
async def test_a_page_that_ends_early_is_an_error_wherever_it_ends() -> None:
    body = page(Blob("a"), folder("b/"), Blob("c"), marker="m").encode()
    for end in range(len(body)):
        with pytest.raises(ValueError):
            await parse_in_steps(body[:end])


def test_no_declaration_is_followed() -> None:
    laughs = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
    for name in ("&b;", "&c;", "a"):
        body = page(Blob("a")).replace("<Name>a", f"<Name>{name}").replace("?>", f"?>{laughs}").encode()
        with pytest.raises(ValueError, match="document type"):
            parsed(body)


def test_directories_snapshots_and_deleted_blobs_are_left_out() -> None:
    for name in ("directory", "snapshot", "deleted"):
        assert keys(parsed(CHANGES[name](page(Blob("a"))).encode())) == []
    mixed = page(CHANGES["directory"](str(Blob("a"))), CHANGES["file"](str(Blob("b"))))
    assert keys(read(mixed)) == ["b"]


def test_keys_that_cannot_be_asked_for_are_listed_as_such() -> None:
    for key in ("b/../c", ".", "./b", "b/.", "d\\e", "", "k" * 1025):
        found = read(page(*map(Blob, ("a", key, "..f", "k" * 1024))))
        assert keys(found) == ["a", "..f", "k" * 1024]
        reason = "key_too_long" if len(key) > 1024 else "unusable_key"
        assert [(each.key, each.reason) for each in found.listed.irregular] == [(key, reason)]


def test_a_blob_whose_etag_or_size_is_beyond_all_measure_is_irregular_and_its_neighbours_are_listed() -> None:
    text = str(Blob("a"))
    size = re.sub(r"(<Content-Length>)\d+", rf"\g<1>{'9' * 5_000}", text)
    etag = re.sub(r"(<Etag>)[^<]+", rf"\g<1>{'e' * (1 << 20)}", text)
    assert text not in (size, etag)
    for changed in (size, etag):
        found = parsed(page(changed, Blob("b")).encode())
        assert keys(found) == ["b"]
        assert [each.reason for each in found.listed.irregular] == ["incomplete_entry"]


def test_an_encoded_name_is_decoded_once() -> None:
    text = page(Blob("%EF%BF%BE%2541+%20"), Blob("%FF"), Blob("%00")).replace(
        "<Name>", '<Name Encoded="true">'
    )
    found = parsed(text.encode())
    assert keys(found) == ["\ufffe%41+ "]
    irregular = [(each.key, each.reason) for each in found.listed.irregular]
    assert irregular == [("\\xff", "undecodable_name"), ("\\x00", "unusable_key")]


def test_a_byte_order_mark_is_no_part_of_the_page() -> None:
    assert keys(parsed(b"\xef\xbb\xbf" + page(Blob("a")).encode())) == ["a"]
    with pytest.raises(ValueError):
        parsed(page(Blob("é")).encode("latin-1"))
    with pytest.raises(ValueError):
        parsed(page(Blob("a")).encode("utf-16"))


def test_a_long_page_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(*(Blob(f"{number:05}") for number in range(50)), folder("z/"))
    whole = read(text)
    for size in (1, 400, 1 << 13):
        monkeypatch.setattr(listing, "_PIECE_BYTES", size)
        assert read(text) == whole
    assert keys(whole) == [f"{number:05}" for number in range(50)]
    assert whole.listed.folders == ["z/"]


def test_a_date_is_a_moment_in_utc() -> None:
    assert epoch_seconds("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    assert epoch_seconds("Sun, 22 Nov 2026 11:07:22 GMT") == AT
    for date in (
        "",
        DATE[:-4],
        DATE.replace("GMT", "CET"),
        DATE.replace("Nov", "Foo"),
        f"{DATE} ",
        "Sun, 99" + DATE[7:],
    ):
        with pytest.raises(ValueError):
            epoch_seconds(date)
