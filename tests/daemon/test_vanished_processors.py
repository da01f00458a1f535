"""Runs whose processor is not in the configuration any more: they end, and can be tried again."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from tests.store.footage import INDEX, run_of, shot
from vvwatch.clock import SystemClock
from vvwatch.config import Config, load
from vvwatch.core.processors import ProcessorInfo, ProcessorNames
from vvwatch.daemon import ServeOptions, serve
from vvwatch.daemon.declaring import apply_declarations
from vvwatch.daemon.wiring import Components, build_components
from vvwatch.store.admin import attention
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.runs import runs
from vvwatch.store.runs.batches import whole_index
from vvwatch.store.runs.run_queries import processors_in_use
from vvwatch.store.schema import import_automations, run_items
from vvwatch.telemetry import Telemetry

pytestmark = pytest.mark.anyio


def configured(folder: Path) -> Config:
    return load(None, {"HOME": str(folder)}, {"listen": "127.0.0.1:0", "state_dir": str(folder / "state")})


def start(tx: Tx, model: str) -> str:
    return runs.start_run(
        tx,
        index_id=INDEX,
        prompt_id=catalog.DEFAULT_PROMPT_ID,
        settings={"processing_model": model},
        media_ids=whole_index(tx, INDEX),
        executed_by="key_1",
        context={"type": "index", "index_id": INDEX},
    )


def items_of(tx: Tx, run_id: str) -> list[sa.Row[Any]]:
    return list(tx.all(sa.select(run_items).where(run_items.c.run_id == run_id)))


async def with_runs(components: Components, *models: str) -> list[str]:
    """Runs over two media each, begun when there was a processor `gpt`."""
    await components.engine.setup()
    await apply_declarations(components, components.config)
    infos = {name: ProcessorInfo(name, name) for name in ("technical", "gpt")}
    components.database.processors = ProcessorNames(infos)
    await shot(components.database, 2)
    await components.database.write(lambda tx: tx.execute(sa.delete(import_automations)))
    return [await components.database.write(start, model) for model in models]


async def test_the_items_of_a_run_whose_processor_left_fail_with_that_reason_when_the_daemon_starts(
    tmp_path: Path,
) -> None:
    config = configured(tmp_path)
    components = build_components(config, SystemClock(), Telemetry("test"), {})
    async with components.database.opened():
        vanished, unknown = await with_runs(components, "gpt", "gemini-3-pro")
        assert await components.database.read(processors_in_use) == {"gpt", ""}

    with anyio.fail_after(60):
        assert await serve(config, ServeOptions({}, once=True, log_stream=StringIO())) == 0

    components = build_components(config, SystemClock(), Telemetry("test"), {})
    async with components.database.opened():
        shown = await components.database.read(attention.list_failures, 0.0)
        for run_id, said in (
            (vanished, "the processor 'gpt' is no longer in the configuration; there is: technical"),
            (unknown, "no processor answers to the model 'gemini-3-pro'; there is: technical"),
        ):
            assert (await run_of(components.database, run_id)).status == "failed"
            items = await components.database.read(items_of, run_id)
            told = {(row.status, row.error_code, row.error_message) for row in items}
            assert (len(items), told) == (2, {("failed", "model_not_configured", said)})
            assert any(said in failure.what for failure in shown.found), "status shows it"
        assert await components.database.read(processors_in_use) == set()
