from __future__ import annotations

import hashlib
import json
import tracemalloc
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vvwatch.errors import Conflict
from vvwatch.workflow.pipeline.documents import Document, abandon_on_error

HEAD = {"schema": "s", "runs": []}
Element = dict[str, Any]


def element(number: int, size: int) -> Element:
    return {"video": {"video_id": f"vid_{number}"}, "text": "x" * size}


def named(folder: Path, number: int) -> Path:
    return folder / f"{number}.json"


def written(folder: Path, elements: list[Element], most_bytes: int | None) -> list[bytes]:
    """The content of each file, which is what was told of it."""
    document = Document(partial(named, folder), HEAD, most_bytes)
    for each in elements:
        document.add(each)
    told = document.end()
    contents = [named(folder, number).read_bytes() for number in range(1, len(told) + 1)]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{n}.json" for n in range(1, len(told) + 1)
    )
    assert [part.size_bytes for part in told] == [len(content) for content in contents]
    assert [part.sha256 for part in told] == [hashlib.sha256(content).hexdigest() for content in contents]
    return contents


@settings(deadline=None)  # files are forced to the disk
@given(st.lists(st.integers(0, 400), max_size=30), st.integers(600, 2000))
def test_parts_are_whole_documents_within_their_bound(sizes: list[int], most_bytes: int) -> None:
    elements = [element(number, size) for number, size in enumerate(sizes)]
    with TemporaryDirectory() as folder:
        contents = written(Path(folder), elements, most_bytes)
    assert all(len(content) <= most_bytes for content in contents)
    documents = [json.loads(content) for content in contents]
    assert [each for document in documents for each in document["media"]] == elements
    assert all(HEAD.items() <= document.items() for document in documents)
    count = len(documents)
    expected = [{"number": n, "count": count} for n in range(1, count + 1)] if count > 1 else [None]
    assert [document.get("part") for document in documents] == expected
    with TemporaryDirectory() as folder:
        assert written(Path(folder), elements, most_bytes) == contents


def test_without_a_bound_it_is_one_file(tmp_path: Path) -> None:
    [content] = written(tmp_path, [element(n, 10_000) for n in range(20)], None)
    assert content.startswith(b'{"runs":[],"schema":"s","media":[{')
    assert content.endswith(b"}]}\n")


def test_what_is_too_large_for_any_file_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    document = Document(partial(named, tmp_path), HEAD, 1_000)
    document.add(element(1, 800))
    with pytest.raises(Conflict, match="vid_2") as caught, abandon_on_error(document):
        document.add(element(2, 901))
    assert "destination_connector_id" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_document(tmp_path: Path) -> None:
    document = Document(partial(named, tmp_path), HEAD, 8 << 20)
    tracemalloc.start()
    try:
        for number in range(300):
            document.add(element(number, 100_000))
        parts = document.end()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(parts) == 4
    assert peak < 2 << 20
