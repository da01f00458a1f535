"""The served API against its own description, by requests that nobody would think of.

In CI a bounded slice; `VVWATCH_CONFORMANCE_SECONDS=600 pytest -n0 tests/conformance` runs as long as it says.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import anyio
import pytest

from tests.api.asking import ADMIN_KEY
from tests.api.serving import served
from tests.api.story import CONNECTOR, INDEX, Story
from vvwatch.api.http.context import ApiContext
from vvwatch.store.admin import keys
from vvwatch.store.catalog import catalog

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(7200)]

ROOT = Path(__file__).parents[2]
SECONDS = os.environ.get("VVWATCH_CONFORMANCE_SECONDS", "")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    "no_leaked_internals",
)
SLICE = ("--phases=examples,fuzzing", "--max-examples=1", "--no-shrink")
WHOLE = ("--phases=examples,coverage,fuzzing,stateful", f"--max-time={SECONDS or 1}", "--continue-on-failure")
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx"]
"""


def ids_of(story: Story) -> dict[str, str]:
    """What is there, by the names that paths have for it."""
    return {
        "index_id": INDEX,
        "connector_id": CONNECTOR,
        "prompt_id": catalog.DEFAULT_PROMPT_ID,
        "job_id": story.job_id,
        "file_id": "1",
        "video_id": story.video_id,
        "run_id": story.run_id,
        "export_id": story.export_id,
        "webhook_id": story.webhook_id,
    }


def command(url: str, folder: Path) -> list[str]:
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    program = str(Path(sys.executable).with_name("st"))
    options = [
        f"--checks={','.join(CHECKS)}",
        f"--header=X-API-Key: {ADMIN_KEY}",
        "--seed=1",
        "--warnings=off",
    ]
    return [
        program,
        f"--config-file={config}",
        "run",
        f"{url}/openapi.json",
        *options,
        *(WHOLE if SECONDS else SLICE),
    ]


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"] if SECONDS else ["sqlite"])
async def test_what_is_answered_is_what_is_described(
    context: ApiContext, story: Story, tmp_path: Path
) -> None:
    await context.database.write(keys.seed_admin, ADMIN_KEY)
    hooks = {"SCHEMATHESIS_HOOKS": "tests.conformance.hooks", "VVWATCH_TEST_IDS": json.dumps(ids_of(story))}
    environ = {**os.environ, **hooks, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    async with served(context) as server:
        await anyio.to_thread.run_sync(server.app.openapi)  # it is asked for with little patience
        asked = command(server.url, tmp_path)
        ended = await anyio.run_process(asked, check=False, cwd=tmp_path, env=environ)
    assert ended.returncode == 0, ended.stdout.decode() + ended.stderr.decode()
