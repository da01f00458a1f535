"""`kill -9` between an intent, its call, the answer, the segment and the end of the item: nothing is paid twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from tests import samples, slices
from tests.chat_endpoint import Answer, Asked, ChatEndpoint, said
from tests.crash.dying import die_at
from tests.daemon_process import Daemon, wait_until
from tests.postgres_server import PostgresServer

SEGMENTS = 3
CENT = 10_000_000  # billionths of a dollar
EXTRA = """
[prompts.seen]
prompt_text = "Say what is seen."
json_schema = {{ type = "object", properties = {{ n = {{ type = "integer" }} }}, required = ["n"] }}
[prompts.seen.video_level]
instructions_text = "Sum it up."
json_schema = {{ type = "object", properties = {{ n = {{ type = "integer" }} }}, required = ["n"] }}
[automations.main.prompt]
prompt_id = "prompt_seen"
processing_model = "gpt"
video_segmentation_type = "fixed"
video_segment_duration = 2
[processing.budget]
per_run_usd = 1.0
[processors.gpt]
type = "openai"
base_url = "{url}"
model = "model-1"
frames_per_segment = 1
max_in_flight = 2
[processors.gpt.prices."*"]
usd_per_call = 0.01
"""
POINTS = slices.sample(
    [
        *(
            (moment, f"llm_calls.process_batch#{number}")
            for number in (1, 2, 4)
            for moment in ("before", "after")
        ),
        ("after", "journal.store_plan"),
        ("before", "runs.finish_item"),
        ("after", "runs.finish_item"),
    ],
    3,
)


def answer(_asked: Asked) -> Answer:
    return said({"n": 1})


@pytest.fixture
def endpoint() -> Iterator[ChatEndpoint]:
    endpoint = ChatEndpoint(answer)
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(endpoint.running()):
        yield endpoint


@pytest.fixture
def database_url(dialect: str, request: pytest.FixtureRequest) -> Iterator[str]:
    if dialect == "sqlite":
        yield ""
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    yield server.create_database("paid")
    server.drop_database("paid")


def is_done(daemon: Daemon) -> bool:
    left = "select count(*) from run_items where status <> 'completed'"
    return daemon.rows(left) == [(0,)] and daemon.rows("select count(*) from run_items") == [(len(POINTS),)]


@pytest.mark.timeout(600)
def test_whatever_instant_it_dies_at_no_segment_is_lost_and_no_call_is_paid_under_another_key(
    tmp_path: Path, endpoint: ChatEndpoint, database_url: str
) -> None:
    extra = EXTRA.format(url=endpoint.url)
    daemon = Daemon(tmp_path, extra=extra, database_url=database_url, heartbeat="1s")
    clip = samples.video(tmp_path / "clip.mp4", 2 * SEGMENTS, audio=False)
    for number, point in enumerate(POINTS):
        (daemon.incoming / f"{number}.mp4").write_bytes(clip.read_bytes())
        die_at(daemon, *point, seconds=60)
    with daemon:
        wait_until(lambda: is_done(daemon), "all done", seconds=120)
    items, calls = len(POINTS), len(POINTS) * (SEGMENTS + 1)
    assert len(endpoint.paid) == calls
    told = "select count(*), count(distinct key), count(answer), sum(cost_nanousd) from llm_calls"
    assert daemon.rows(told) == [(calls, calls, 0, calls * CENT)]
    assert daemon.rows("select distinct status from llm_calls") == [("completed",)]
    spent = (
        "select sum(calls), sum(cost_nanousd), sum(reserved_nanousd) from spending where scope like 'run:%'"
    )
    assert daemon.rows(spent) == [(calls, calls * CENT, 0)]
    found = "select count(*), count(error) from segment_results"
    assert daemon.rows(found) == [(items * SEGMENTS, 0)]
    counted = "select sum(segment_count), sum(failed_segment_count) from run_items"
    assert daemon.rows(counted) == [(items * SEGMENTS, 0)]
    runs = "select sum(total_segments), sum(completed_segments), sum(completed_items) from prompt_runs"
    assert daemon.rows(runs) == [(items * SEGMENTS, items * SEGMENTS, items)]
