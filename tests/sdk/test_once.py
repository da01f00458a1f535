"""What comes twice is done once: of many requests at the same time, and when the first answer is lost in a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from tests.crash import dying_daemon
from tests.daemon_process import ADMIN_KEY, Daemon
from tests.fault_proxy import LOOPBACK, free_port
from tests.sdk.twins import CLIENTS, Twin
from tests.sdk.world import World

TIMES = 40


def listening_at(daemon: Daemon, port: int) -> Daemon:
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace(f'"{LOOPBACK}:0"', f'"{LOOPBACK}:{port}"'))
    return daemon


@pytest.mark.timeout(120)
def test_a_lost_answer_is_given_again_by_the_next_life(portal: BlockingPortal, tmp_path: Path) -> None:
    port, daemon = free_port(), Daemon(tmp_path)
    command = (str(Path(dying_daemon.__file__)), "after", "idempotency.run_once")
    dying = listening_at(replace(daemon, command=command), port).start()
    twins = {
        kind: Twin(
            client(api_key=ADMIN_KEY, base_url=f"{dying.url}/api/v2", max_retries=30, max_retry_delay=1),
            portal if kind == "async" else None,
        )
        for kind, client in CLIENTS.items()
    }
    with ThreadPoolExecutor() as threads:
        asked = {
            kind: threads.submit(twin.indexes.create, name=kind, idempotency_key=kind)
            for kind, twin in twins.items()
        }
        assert dying.process is not None
        assert dying.process.wait(30) == -9
        dying.kill()
        with listening_at(daemon, port):
            made = {kind: answer.result(60) for kind, answer in asked.items()}
            for kind, twin in twins.items():
                listed = twin.indexes.list()
                assert [index.name for index in listed].count(kind) == 1
                assert made[kind] in listed
                assert twin.indexes.create(name=kind, idempotency_key=kind) == made[kind]
                twin.close()


async def at_once(*calls: Callable[[], Awaitable[Any]]) -> list[list[Any]]:
    """What each call answers when all are made `TIMES` times at the same time."""
    answers = await asyncio.gather(*(call() for call in calls for _ in range(TIMES)))
    return [answers[start : start + TIMES] for start in range(0, len(answers), TIMES)]


def test_of_many_at_once_one_is_done(both: dict[str, Twin], portal: BlockingPortal, world: World) -> None:
    client, name = both["async"].it, world.name("at once")
    job = {"connector_id": world.connector_id, "index_id": world.index(), "source_prefix": world.prefix()}
    picture = {"type": "videos", "video_ids": [world.video_ids["picture.png"]]}
    calls = [
        partial(client.indexes.create, name=name),
        partial(client.import_jobs.create, **job),
        partial(client.prompt_runs.execute, prompt_id="prompt_technical", target=picture),
        partial(client.exports.create_prompt_run_export, world.run_id),
        partial(client.webhooks.create, name=name, url="http://127.0.0.1:9/", events=["export.failed"]),
    ]
    answers = portal.call(at_once, *(partial(call, idempotency_key=name) for call in calls))
    assert all(each == answer[0] for answer in answers for each in answer)
    sdk = both["sync"]
    indexes, jobs, hooks = sdk.indexes.list(), sdk.import_jobs.list(), sdk.webhooks.list()
    assert [index.name for index in indexes].count(name) == 1
    assert [each.source_prefix for each in jobs].count(job["source_prefix"]) == 1
    assert [hook.name for hook in hooks].count(name) == 1
