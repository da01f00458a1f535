from __future__ import annotations

from dataclasses import replace

import pytest

from tests.clock import FakeClock
from vvwatch.errors import InvalidInput, NotFound
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec, PromptSpec
from vvwatch.store.db.database import Database
from vvwatch.store.schema import prompts

pytestmark = pytest.mark.anyio

CONNECTOR = ConnectorSpec("in", "local", {"root": "/in"})
PROMPT = PromptSpec("shots", "Describe every shot.", {"type": "object", "properties": {}})


async def test_a_connector_is_tested_before_it_counts_as_active(database: Database, clock: FakeClock) -> None:
    made = await database.write(catalog.create_connector, CONNECTOR)
    assert (made.status, made.declared, made.scopes) == ("testing", False, ["import"])
    failed = await database.write(catalog.record_test, made.id, "the folder is gone")
    assert (failed.status, failed.last_test_result) == ("failed", "failed")
    assert (failed.last_test_error, failed.last_tested_at) == ("the folder is gone", clock.now())
    passed = await database.write(catalog.record_test, made.id, None)
    assert (passed.status, passed.last_test_result, passed.last_test_error) == ("active", "success", None)
    with pytest.raises(NotFound, match="no connector 'conn_none'"):
        await database.write(catalog.record_test, "conn_none", None)


async def test_what_is_declared_follows_the_file(database: Database, clock: FakeClock) -> None:
    first = await database.write(catalog.declare_connector, "conn_in", CONNECTOR)
    clock.advance(60)
    assert await database.write(catalog.declare_connector, "conn_in", CONNECTOR) == first
    moved = replace(CONNECTOR, settings={"root": "/elsewhere"}, scopes=("import", "export"))
    changed = await database.write(catalog.declare_connector, "conn_in", moved)
    assert (changed.settings, changed.scopes) == ({"root": "/elsewhere"}, ["import", "export"])
    assert (changed.created_at, changed.updated_at) == (first.created_at, clock.now())
    assert [row.id for row in await database.read(catalog.list_connectors)] == ["conn_in"]


async def test_declaring_takes_over_what_was_made(database: Database) -> None:
    made = await database.write(catalog.create_index, "films")
    declared = await database.write(catalog.declare_index, made.id, "films")
    assert (declared.id, declared.declared) == (made.id, True)
    renamed = await database.write(catalog.declare_index, made.id, "movies", "all of them")
    assert (renamed.name, renamed.description) == ("movies", "all of them")
    assert await database.read(catalog.list_indexes) == [renamed]


async def test_a_changed_prompt_is_a_new_version(database: Database) -> None:
    first = await database.write(catalog.declare_prompt, "prompt_shots", PROMPT)
    assert first.prompt_version == 1
    again = await database.write(catalog.declare_prompt, "prompt_shots", PROMPT)
    assert again.prompt_version == 1
    changed = replace(PROMPT, prompt_text="Describe every cut.")
    assert (await database.write(catalog.declare_prompt, "prompt_shots", changed)).prompt_version == 2


async def test_a_prompt_that_is_declared_again_is_active_again(database: Database) -> None:
    await database.write(catalog.declare_prompt, "prompt_shots", PROMPT)
    put_aside = {"declared": False, "is_active": False}
    await database.write(lambda tx: tx.update(prompts, "prompt_shots", **put_aside))
    row = await database.write(catalog.declare_prompt, "prompt_shots", PROMPT)
    assert (row.declared, row.is_active) == (True, True)


async def test_the_default_prompt_is_kept_up_to_date(database: Database) -> None:
    for version, text in ((1, "one"), (1, "one"), (2, "two")):
        seeded = await database.write(catalog.seed_default_prompt, replace(PROMPT, prompt_text=text))
        assert (seeded.id, seeded.is_default) == (catalog.DEFAULT_PROMPT_ID, True)
        assert (seeded.prompt_version, seeded.prompt_text) == (version, text)


async def test_prompts_are_listed_as_asked(database: Database) -> None:
    await database.write(catalog.seed_default_prompt, PROMPT)
    made = await database.write(catalog.create_prompt, PROMPT)

    async def listed(*, defaults: bool) -> list[str]:
        rows = await database.read(catalog.list_prompts, include_defaults=defaults)
        return [row.id for row in rows]

    assert set(await listed(defaults=True)) == {catalog.DEFAULT_PROMPT_ID, made.id}
    assert await listed(defaults=False) == [made.id]


async def test_a_schema_that_cannot_be_used_is_refused(database: Database) -> None:
    level = {"instructions_text": "Sum up.", "json_schema": {"type": "array"}}
    for spec in (replace(PROMPT, json_schema={"type": "string"}), replace(PROMPT, video_level=level)):
        with pytest.raises(InvalidInput, match="object"):
            await database.write(catalog.declare_prompt, "prompt_shots", spec)


async def test_a_declared_value_that_python_takes_for_the_same_is_a_change(database: Database) -> None:
    for version, default in enumerate((1, True), start=1):
        schema = {"type": "object", "properties": {"loud": {"default": default}}}
        row = await database.write(
            catalog.declare_prompt, "prompt_shots", replace(PROMPT, json_schema=schema)
        )
        assert (row.prompt_version, str(row.json_schema)) == (version, str(schema))
