"""Search by conditions and by words, which need no model."""

from __future__ import annotations

from typing import Any

import pytest
import videovector

from tests.sdk.twins import Twin
from tests.sdk.world import World


def condition(field: str, operator: str, kind: str, *value: Any) -> dict[str, Any]:
    given = {"field": field, "operator": operator, "type": kind}
    return given | ({"value": value[0]} if value else {})


CUT = condition("opened_by", "equals", "string", "cut")
LOUD = condition("loudness_lufs", "less_than", "number", 0)
FIRST = [("clip.mp4", 0), ("picture.png", 0), ("sound.wav", 0)]


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ([CUT], [("clip.mp4", 2)]),
        ([condition("opened_by", "starts_with", "string", "st")], FIRST),
        ([condition("opened_by", "contains", "string", "nothing")], []),
        ([LOUD], [("clip.mp4", 0), ("clip.mp4", 2), ("sound.wav", 0)]),
        ([LOUD, CUT], [("clip.mp4", 2)]),
        ([condition("nowhere", "is_empty", "string")], sorted([*FIRST, ("clip.mp4", 2)])),
    ],
)
def test_segments_are_found_by_what_was_measured(
    sdk: Twin, world: World, conditions: list[dict[str, Any]], found: list[tuple[str, int]]
) -> None:
    answer = sdk.search.filter(world.index_id, conditions=conditions, run_ids=[world.run_id])
    assert sorted((each.video_name, round(each.start_time)) for each in answer.results) == found
    assert {each.source_index_id for each in answer.results} <= {world.index_id}
    assert answer.total_shown == len(found)


def test_what_is_found_comes_in_pages(sdk: Twin, world: World) -> None:
    anything = [condition("shot_changes", "greater_equal", "integer", 0)]
    request = {"conditions": anything, "run_ids": [world.run_id], "page_size": 3}
    first = sdk.search.filter(world.index_id, **request)
    assert (len(first.data), first.pagination.has_more) == (3, True)
    rest = sdk.search.filter(world.index_id, **request, cursor=first.pagination.next_cursor)
    assert (len(rest.data), rest.pagination.has_more, rest.next_page_token) == (1, False, None)
    assert len({each.result_id for each in [*first.data, *rest.data]}) == 4


def test_the_playground_is_searched_apart(sdk: Twin, world: World) -> None:
    anything = [condition("shot_changes", "greater_equal", "integer", 0)]
    found = sdk.search.filter_playground(conditions=anything)
    assert not {each.video_id for each in found.results} & set(world.video_ids.values())


def test_an_unknown_index_is_not_found(sdk: Twin) -> None:
    with pytest.raises(videovector.NotFoundError) as caught:
        sdk.search.filter("idx_none", conditions=[condition("opened_by", "equals", "string", "cut")])
    assert caught.value.error_code == "resource_index_not_found"


def test_words_are_found_wherever_the_client_searches_by_meaning(sdk: Twin, world: World) -> None:
    """The title is searched, too; results say nothing of similarity."""
    found = sdk.search.text(world.index_id, query="clip", run_ids=[world.run_id], top_k=5)
    assert {each.video_id for each in found} == {world.video_ids["clip.mp4"]}
    assert {each.similarity_score for each in found} == {None}
    assert all("clip" in each.content_preview + each.video_name for each in found)
    runs = sdk.search.multi_run(query="clip", run_ids=[world.run_id], top_k=1)
    assert [each.run_id for each in runs] == [world.run_id]
    page = sdk.workflow.search("clip mp4", index_id=world.index_id)
    assert (page.response.mode, page.response.result_level) == ("vector", "segment")
    assert {each.video_name for each in page.data} == {"clip.mp4"}
    assert page.response.warnings[0].startswith("lexical search")
    assert sdk.search.playground(query="surely nowhere to be found xyzzy") == []
