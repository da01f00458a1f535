"""Prompts, their schemas, and who uses them."""

from __future__ import annotations

import pytest
import videovector

from tests.sdk.twins import Twin, problems
from tests.sdk.world import World

SCHEMA = {"type": "object", "properties": {"subject": {"type": "string"}}, "required": ["subject"]}
WHOLE = {"instructions_text": "Sum it up.", "json_schema": {"type": "object", "properties": {}}}


def test_a_prompt_is_made_changed_and_deleted(sdk: Twin, world: World) -> None:
    made = sdk.prompts.create(
        name=world.name("shots"),
        prompt_text="Describe every shot.",
        json_schema=SCHEMA,
        description="for the desk",
        video_level=WHOLE,
        semantic_indexing={"disabled_segment_fields": ["subject"]},
    )
    assert (made.json_schema, made.description, made.is_active) == (SCHEMA, "for the desk", True)
    assert made.video_level.instructions_text == "Sum it up."
    assert made.semantic_indexing.disabled_segment_fields == ["subject"]
    assert sdk.prompts.retrieve(made.prompt_id) == made
    changed = sdk.prompts.update(made.prompt_id, description="", clear_video_level=True)
    assert (changed.description, changed.video_level, changed.name) == ("", None, made.name)
    assert sdk.prompts.retrieve(made.prompt_id) == changed
    usage = sdk.prompts.get_usage(made.prompt_id)
    assert (usage.is_in_use, usage.schema_properties_count) == (False, 1)
    assert made.prompt_id in sdk.prompts.delete(made.prompt_id).message
    with pytest.raises(videovector.NotFoundError) as caught:
        sdk.prompts.retrieve(made.prompt_id)
    assert caught.value.error_code == "resource_prompt_not_found"


def test_prompts_are_listed_with_and_without_those_that_come_along(sdk: Twin, world: World) -> None:
    made = sdk.prompts.create(
        name=world.name("shots"), prompt_text="Describe every shot.", json_schema=SCHEMA
    )
    every = sdk.prompts.list()
    assert {made.prompt_id, "prompt_technical"} <= {prompt.prompt_id for prompt in every.prompts}
    assert every.total_count >= every.active_count >= 2
    own = sdk.prompts.list(include_defaults=False, active_only=False)
    assert "prompt_technical" not in {prompt.prompt_id for prompt in own.prompts}


def test_the_same_key_makes_and_changes_one_prompt(sdk: Twin, world: World) -> None:
    request = {"name": world.name("shots"), "prompt_text": "Describe every shot.", "json_schema": SCHEMA}
    key = world.name("key")
    first, again = [sdk.prompts.create(**request, idempotency_key=key) for _ in range(2)]
    assert first == again
    once, more = [
        sdk.prompts.update(first.prompt_id, description="once", idempotency_key=key) for _ in range(2)
    ]
    assert once == more
    with pytest.raises(videovector.ConflictError):
        sdk.prompts.update(first.prompt_id, description="twice", idempotency_key=key)


def test_data_are_held_against_a_schema(sdk: Twin) -> None:
    good = sdk.prompts.test_schema(json_schema=SCHEMA, sample_data={"subject": "a boat"})
    assert (good.valid, good.validated_data, good.error) == (True, {"subject": "a boat"}, None)
    bad = sdk.prompts.test_schema(json_schema=SCHEMA, sample_data={"subject": 7})
    assert not bad.valid
    assert bad.error
    unusable = sdk.prompts.test_schema(
        json_schema={"type": "object", "properties": {"a": {"$ref": "https://example.com/a.json"}}},
        sample_data={"a": 1},
    )
    assert not unusable.valid


def test_what_cannot_be_a_prompt_is_refused(sdk: Twin, world: World) -> None:
    with pytest.raises(videovector.ValidationError) as caught:
        sdk.prompts.create(name="ab", prompt_text="too short", json_schema={"type": "string"})
    assert problems(caught) >= {
        "body.name",
        "body.prompt_text",
    }


def test_the_prompt_that_comes_along_stays(sdk: Twin) -> None:
    with pytest.raises(videovector.ConflictError):
        sdk.prompts.delete("prompt_technical", force=True)
