"""Sidecars: what people and programs write is read, what is hostile or broken says why."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests import exiftool
from vvwatch.core.facts import MOST_SIDECAR_BYTES, clean_texts, name_sidecars, read_sidecar
from vvwatch.errors import InvalidInput

XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmpDM="http://ns.adobe.com/xmp/1.0/DynamicMedia/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmpDM:scene="12A" xmp:CreatorTool="x">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Harbour &amp; quay</rdf:li></rdf:Alt></dc:title>
<dc:subject><rdf:Bag><rdf:li>boats</rdf:li><rdf:li> rain </rdf:li><rdf:li/></rdf:Bag></dc:subject>
<dc:format>video/mxf</dc:format>
<xmpDM:duration rdf:parseType="Resource"><xmpDM:value>100</xmpDM:value></xmpDM:duration>
<xmpDM:Tracks><rdf:Bag><rdf:li><rdf:Description xmpDM:trackName="Markers"/></rdf:li></rdf:Bag></xmpDM:Tracks>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def refused(key: str, data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_sidecar(key, data)
    return caught.value.message


def test_sidecars_have_the_name_of_their_media() -> None:
    assert name_sidecars("in/clip.one.mxf") == ["in/clip.one.json", "in/clip.one.xmp"]
    assert name_sidecars("clip") == ["clip.json", "clip.xmp"]
    assert name_sidecars("clip.json") == ["clip.xmp"]
    assert name_sidecars("in/.mxf") == ["in/.mxf.json", "in/.mxf.xmp"]


def test_json_is_kept_as_it_is_but_for_control_characters_and_endless_texts() -> None:
    said = {"show": "Harbour\x00\x1b", "takes": [1, 2.5, None, True, {"n": "a\nb"}], "long": "x" * 10_000}
    found = read_sidecar("a.JSON", json.dumps(said).encode())
    assert found == {"show": "Harbour", "takes": said["takes"], "long": "x" * 4_096}
    assert read_sidecar("a.json", b"\xef\xbb\xbf{}") == {}
    assert json.dumps(read_sidecar("a.json", b'{"a": "\\ud800"}')) == '{"a": "?"}'


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not JSON"),
        (b"[1]", "no object"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": [1e999]}', "1e999 is no number"),
        (b'{"a": -1e999}', "-1e999 is no number"),
        (b"\xff\xfe\x00", "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (b'{"a":' * 12 + b"1" + b"}" * 12, "deeper than 10"),
        (json.dumps({f"k{n}": "x" * 1000 for n in range(100)}).encode(), "more than 64 KiB"),
        (b" " * (MOST_SIDECAR_BYTES + 1), "larger than 1 MiB"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not JSON"),
    ],
)
def test_json_that_cannot_be_used_says_why(data: bytes, says: str) -> None:
    assert says in refused("a.json", data)


def test_simple_values_of_xmp_are_read() -> None:
    assert read_sidecar("a.xmp", XMP.encode()) == {
        "xmpDM:scene": "12A",
        "dc:title": "Harbour & quay",
        "dc:subject": ["boats", "rain"],
        "dc:format": "video/mxf",
    }
    assert read_sidecar("a.xmp", XMP.encode("utf-16")) == read_sidecar("a.xmp", XMP.encode())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<x:xmpmeta", "not XML"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "document type"),
        (b"<x>" * 60 + b"</x>" * 60, "deeper than 50"),
        (b"<x>&a;</x>", "not XML"),
    ],
)
def test_xmp_that_is_broken_or_hostile_says_why(data: bytes, says: str) -> None:
    assert says in refused("a.xmp", data)


def test_xml_of_another_kind_says_nothing() -> None:
    assert read_sidecar("a.xmp", b"<html><title>x</title></html>") == {}


@pytest.mark.timeout(360)
@pytest.mark.skipif(not exiftool.can_run(), reason="there is neither exiftool nor perl")
def test_what_exiftool_writes_is_read(tmp_path: Path) -> None:
    file = tmp_path / "clip.xmp"
    told = ["-XMP-dc:Title=Größe", "-XMP-dc:Subject=a", "-XMP-dc:Subject=b", "-XMP-xmpDM:Scene=12A"]
    exiftool.run("-q", *told, file)
    found = read_sidecar("clip.xmp", file.read_bytes())
    assert found == {"dc:title": "Größe", "dc:subject": ["a", "b"], "xmpDM:scene": "12A"}


def _strip(value: Any) -> Any:
    return [text for each in value if (text := each.strip())] if isinstance(value, list) else value


@pytest.mark.timeout(360)
@pytest.mark.skipif(not exiftool.can_run(), reason="there is neither exiftool nor perl")
def test_exiftool_reads_in_our_packet_what_we_read(tmp_path: Path) -> None:
    file = tmp_path / "clip.xmp"
    file.write_text(XMP)
    [theirs] = json.loads(exiftool.run("-json", "-G1", "-XMP-dc:all", "-XMP-xmpDM:all", file))
    names = {name.removeprefix("XMP-").lower(): _strip(value) for name, value in theirs.items()}
    ours = {name.lower(): value for name, value in read_sidecar("clip.xmp", XMP.encode()).items()}
    assert ours
    assert {name: names.get(name) for name in ours} == ours


def test_metadata_is_cleaned_and_bounded() -> None:
    assert clean_texts({"b\x00": "x\x07y", "a": "z"}) == {"a": "z", "b": "xy"}
    assert len(clean_texts({f"{n:04}": "" for n in range(1_000)})) == 100


def test_a_text_of_many_lines_takes_linear_time() -> None:
    started = time.process_time()
    found = read_sidecar("a.xmp", XMP.replace("video/mxf", "x" + "\n" * 800_000 + "x").encode())
    assert time.process_time() - started < 2
    assert found["xmpDM:scene"] == "12A"
    assert found["dc:format"].startswith("x\n")
