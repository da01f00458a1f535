from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.export_names import NameFields, build_name, check_template, item_token, sidecar_names
from vvwatch.core.exports import ExportOptions, check_options
from vvwatch.errors import InvalidInput

RUN = NameFields("exp_1", "index_a", "run_1", "prompt_1", "2026-12-01", only_run=True)
ITEM = replace(RUN, key="show/day 1/clip.one.mp4", item_id=7)
TOKEN = item_token(ITEM)


@pytest.mark.parametrize(
    ("template", "of", "name"),
    [
        (None, RUN, "exp_1.csv"),
        (None, replace(RUN, only_run=False), "exp_1/run_1.csv"),
        (None, ITEM, f"exp_1/clip.one-{TOKEN}.csv"),
        ("{index}/{date}/{stem}-{item}.{ext}", ITEM, f"index_a/2026-12-01/clip.one-{TOKEN}.csv"),
        ("{export}/{key}.{ext}", ITEM, f"exp_1/show/day 1/clip.one-{TOKEN}.csv"),
        ("{date}/{stem}.{ext}", RUN, f"2026-12-01/results-{item_token(RUN)}.csv"),
        ("{export}-{format}.{ext}", RUN, "exp_1-table.csv"),
    ],
)
def test_a_name_comes_from_its_template(template: str | None, of: NameFields, name: str) -> None:
    assert build_name(template, of, "table", "csv") == name


@pytest.mark.parametrize(
    "template",
    [
        "../{export}.{ext}",
        "a/../{export}.{ext}",
        "/{export}.{ext}",
        "a//{export}.{ext}",
        "{export}",
        "{export}.json",
        "{nothing}.{ext}",
        "{export:>99}.{ext}",
        "{export.__class__}.{ext}",
        "a{b.{ext}",
        "a\\b.{ext}",
        "a\nb.{ext}",
        "a:b.{ext}",
        "{export}/manifest.{ext}",
        "{export}/failures/{run}.{ext}",
        "{stem}{stem}{stem}.{ext}",
        "x" * 300 + ".{ext}",
        "/".join(["{stem}"] * 12) + ".{ext}",
    ],
)
def test_a_template_that_could_give_a_bad_name_is_refused(template: str) -> None:
    with pytest.raises(InvalidInput):
        check_template(template)


@pytest.mark.parametrize(
    ("key", "stem"),
    [
        ("a/..mp4", "_"),
        ("a/.hidden.mp4", "_hidden"),
        ("CON.mp4", "CON"),
        ('a/b:c*?"<>|.mp4', "b_c______"),
        ("e\u0301.mp4", "\u00e9"),
        ("\u202egpj.mp4", "_gpj"),
        ("\ud800.mp4", "_"),
    ],
)
def test_a_key_becomes_a_safe_name(key: str, stem: str) -> None:
    of = replace(ITEM, key=key)
    assert build_name("{stem}.{ext}", of, "csv", "csv") in {
        f"{stem}-{item_token(of)}.csv",
        f"_{stem}-{item_token(of)}.csv",
    }
    check_template("{stem}.{ext}")


@given(
    st.text(st.characters(), max_size=600), st.sampled_from([None, "{key}.{ext}", "{export}/{stem}.{ext}"])
)
def test_every_name_is_safe(key: str, template: str | None) -> None:
    name = build_name(template, replace(ITEM, key=key), "csv", "failures.csv")
    segments = name.split("/")
    assert all(segment not in {"", ".", ".."} and segment[-1] not in ". " for segment in segments)
    assert all(len(segment.encode()) <= 230 for segment in segments)
    assert len(name.encode()) <= 700
    assert name.isprintable()
    assert unicodedata.is_normalized("NFC", name)
    assert not set(name) & set('\\:*?"<>|')
    assert name.endswith(f"{TOKEN}.failures.csv")


def test_names_differ_even_without_regard_to_case() -> None:
    keys = ("A/x.mp4", "a/X.mp4", "a/X.mov", "a/X.mp4")
    names = [
        build_name("{key}.{ext}", replace(ITEM, key=key, item_id=n), "csv", "csv")
        for n, key in enumerate(keys)
    ]
    assert len({name.casefold() for name in names}) == len(keys)


def test_two_exports_of_one_item_have_two_names() -> None:
    assert build_name("{stem}.{ext}", ITEM, "csv", "csv") != build_name(
        "{stem}.{ext}", replace(ITEM, export_id="exp_2"), "csv", "csv"
    )


def test_options_are_stored_and_read_again() -> None:
    options = ExportOptions(("csv", "json"), name="{export}.{ext}", latest=True)
    document = options.document()
    assert document is not None
    assert ExportOptions.of(document) == options
    assert ExportOptions().document() is None


@pytest.mark.parametrize("formats", [(), ("json", "json"), ("doc",)])
def test_formats_that_cannot_be_are_refused_with_the_choices(formats: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_options(ExportOptions(formats), ["csv"])
    assert "json, csv" in refused.value.hint


def fields_of(key: str) -> NameFields:
    return NameFields("exp_1", "idx_1", "run_1", "prm_1", "2026-12-01", only_run=True, key=key, item_id=7)


def test_sidecars_have_the_name_of_their_media() -> None:
    of = fields_of("day 1/clip.a.mp4")
    assert sidecar_names(of, "vtt") == ("day 1/clip.a.vtt", f"day 1/clip.a.{item_token(of)}.vtt")


@pytest.mark.parametrize("letter", ["a", "ä", "漢", "😀"])
@pytest.mark.parametrize("folder", ["", "f/", "long/" * 190])
def test_no_store_refuses_the_name_of_a_sidecar(letter: str, folder: str) -> None:
    found = []
    for count in range(1, 256):
        key = f"{folder}{letter * count}.mp4"
        if names := sidecar_names(fields_of(key), "chapters.vtt"):
            assert names[0] == f"{folder}{letter * count}.chapters.vtt"
            assert all(len(name.encode()) <= 1024 for name in names)
            assert all(len(name.rpartition("/")[2].encode()) <= 255 for name in names)
            assert len(set(names)) == 2
            assert names[1].startswith(folder)
            found.append(count)
    room = min(255, 1024 - len(folder)) - len(".chapters.vtt")
    assert found == list(range(1, room // len(letter.encode()) + 1))
