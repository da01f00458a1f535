"""`kill -9` around paid transcriptions: no piece of sound is paid twice, and no transcript is made twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from tests import samples
from tests.chat_endpoint import Answer, Asked, ChatEndpoint
from tests.crash.dying import die_at
from tests.daemon_process import Daemon, wait_until

EXTRA = """
[processing.budget]
per_run_usd = 1.0
[transcription.endpoint]
base_url = "{url}"
model = "whisper-1"
usd_per_minute = 0.6
"""
POINTS = [
    ("after", "llm_calls.process_batch#1"),
    ("before", "llm_calls.process_batch#2"),
    ("after", "llm_calls.process_batch#2"),
    ("before", "transcripts.keep_transcript"),
    ("after", "transcripts.keep_transcript"),
]


def answer(_asked: Asked) -> Answer:
    return Answer({"text": "one", "language": "en"})


@pytest.fixture
def endpoint() -> Iterator[ChatEndpoint]:
    endpoint = ChatEndpoint(answer)
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(endpoint.running()):
        yield endpoint


def is_done(daemon: Daemon) -> bool:
    return daemon.rows("select count(*) from run_items where status = 'completed'") == [(len(POINTS),)]


@pytest.mark.timeout(600)
def test_whatever_instant_it_dies_at_no_sound_is_paid_twice(tmp_path: Path, endpoint: ChatEndpoint) -> None:
    daemon = Daemon(tmp_path, extra=EXTRA.format(url=endpoint.url))
    clip = samples.audio(tmp_path / "clip.m4a", 2)
    for number, point in enumerate(POINTS):
        (daemon.incoming / f"{number}.m4a").write_bytes(clip.read_bytes())
        die_at(daemon, *point, seconds=60)
    with daemon:
        wait_until(lambda: is_done(daemon), "all done", seconds=120)
    keys = {asked.key for asked in endpoint.asked}
    assert len(keys) == len(endpoint.paid) == len(POINTS), "a call that is made again has the same key"
    calls = "select count(*), count(distinct key), min(purpose), min(status), max(status) from llm_calls"
    count = len(POINTS)
    assert daemon.rows(calls) == [(count, count, "transcription", "completed", "completed")]
    assert daemon.rows("select source, count(*) from transcripts group by source") == [("endpoint", count)]
    [(usd,)] = daemon.rows("select sum(cost_nanousd) from spending where scope like 'run:%'")
    assert usd == pytest.approx(count * 0.02e9, rel=0.05)
