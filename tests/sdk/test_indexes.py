"""Indexes, and the deletion of one with all that is in it."""

from __future__ import annotations

import pytest
import videovector

from tests.daemon_process import wait_until
from tests.sdk.twins import Twin
from tests.sdk.world import World


def test_an_index_is_made_and_found(sdk: Twin, world: World) -> None:
    name = world.name("rushes")
    made = sdk.indexes.create(name=name)
    assert made.name == name
    assert made.user_id
    assert not made.is_default
    assert sdk.indexes.retrieve(made.index_id) == made
    assert made in sdk.indexes.list()


def test_the_same_key_makes_one_index(sdk: Twin, world: World) -> None:
    name, key = world.name("rushes"), world.name("key")
    first, again = [sdk.indexes.create(name=name, idempotency_key=key) for _ in range(2)]
    assert first == again
    assert [index.name for index in sdk.indexes.list()].count(name) == 1
    with pytest.raises(videovector.ConflictError) as caught:
        sdk.indexes.create(name=world.name("other"), idempotency_key=key)
    assert caught.value.error_code == "idempotency_request_mismatch"
    assert caught.value.request_id


def test_built_in_indexes_are_shown_when_wanted(sdk: Twin) -> None:
    sdk.videos.list_playground()
    own = sdk.indexes.list(include_defaults=False)
    assert not any(index.is_default for index in own)
    every = sdk.indexes.list(include_defaults=True)
    assert {index.index_id for index in own} <= {index.index_id for index in every}


def test_an_unknown_index_is_not_found(sdk: Twin) -> None:
    with pytest.raises(videovector.NotFoundError) as caught:
        sdk.indexes.retrieve("idx_none")
    assert caught.value.error_code == "resource_index_not_found"


def test_media_are_listed_a_page_at_a_time(sdk: Twin, world: World) -> None:
    page = sdk.indexes.list_videos(world.index_id, limit=2)
    assert (len(page.data), page.has_more) == (2, True)
    rest = page.next_page()
    assert (len(rest.data), rest.has_more, rest.next_cursor, rest.next_page()) == (1, False, None, None)
    listed = page.auto_paging_iter()
    assert {video.title: video.video_id for video in listed} == world.video_ids
    assert {video.title: video.media_type for video in listed} == {
        "clip.mp4": "video",
        "sound.wav": "audio",
        "picture.png": "image",
    }
    assert {video.status for video in listed} == {"processed"}
    assert {video.video_uri for video in listed} == {
        world.uri("shoot/clip.mp4"),
        world.uri("shoot/deep/sound.wav"),
        world.uri("shoot/picture.png"),
    }


def test_runs_are_listed(sdk: Twin, world: World) -> None:
    page = sdk.indexes.list_prompt_runs(world.index_id, limit=1)
    assert world.run_id in {run.run_id for run in page.auto_paging_iter()}
    assert all(run.run_context["index_id"] == world.index_id for run in page.data)


def test_a_deletion_ends_and_is_told_after_it(sdk: Twin, world: World) -> None:
    prefix = world.prefix()
    world.put(f"{prefix}clip.mp4", world.media["clip.mp4"])
    index_id = world.index()
    [video_id] = world.imported(index_id, prefix)["video_ids"]
    begun = sdk.indexes.delete(index_id)
    assert begun.index_id == index_id
    assert begun.status in {"draining", "deleting", "deleted"}
    assert sdk.indexes.delete(index_id).deletion_id == begun.deletion_id
    wait_until(lambda: sdk.indexes.get_deletion(index_id).status == "deleted", "the deletion")
    assert sdk.indexes.get_deletion(index_id).retry_after_seconds is None
    with pytest.raises(videovector.NotFoundError):
        sdk.indexes.retrieve(index_id)
    with pytest.raises(videovector.NotFoundError):
        sdk.videos.retrieve(video_id)
    assert world.content(f"{prefix}clip.mp4") == world.media["clip.mp4"]
