"""A daemon that lets another one do the work: by upload and by connector, killed at every step, on both engines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import samples
from tests.daemon_process import ADMIN_KEY, Daemon, wait_until
from tests.e2e.conftest import Make
from tests.http_faults import FOREVER, Answer, Hang, HttpFaultProxy, Reset
from tests.videovector_stub import VideoVectorStub, failure

AUTOMATION = 'prompt = { prompt_id = "prompt_technical", processing_model = "hosted" }'
LOST, NEVER_THERE = Reset(passed_on=True), Hang()
KILLS: tuple[tuple[str, Hang | Reset], ...] = (
    (r"POST \S*/(workflow/upload|import-jobs)$", NEVER_THERE),
    (r"POST \S*/(workflow/upload|import-jobs)$", LOST),
    (r"GET \S*/import-jobs/\w+$", LOST),
    (r"GET \S*/import-jobs/\w+/outputs", LOST),
    (r"GET \S*/prompts", LOST),
    (r"POST \S*/prompt-runs/estimate", LOST),
    (r"POST \S*/prompt-runs/execute", NEVER_THERE),
    (r"POST \S*/prompt-runs/execute", LOST),
    (r"GET \S*/prompt-runs/\w+$", LOST),
    (r"GET \S*/prompt-runs/\w+/results", LOST),
    (r"GET \S*/prompt-runs/\w+/videos/\w+/video-result", LOST),
)
"""When ours is killed: as the request never arrives, or once it was done and its answer is lost."""


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Daemon]:
    """Another daemon, which sees the folder that ours watches, and imports nothing from it by itself."""
    base = tmp_path / "upstream"
    shared = tmp_path / "incoming"
    shared.mkdir()
    connectors = f"""
[connectors.in]
type = "local"
path = "{base / "incoming"}"
[connectors.out]
type = "local"
path = "{base / "outgoing"}"
scopes = ["export"]
[connectors.shared]
type = "local"
path = "{shared}"
"""
    one = Daemon(base, connectors=connectors)
    text = one.config.read_text()
    one.config.write_text(text.replace(f'roots = ["{base}"]', f'roots = ["{tmp_path}"]'))
    with one:
        yield one


@pytest.fixture
def line(upstream: Daemon) -> Iterator[HttpFaultProxy]:
    """The line to it."""
    address = urlsplit(upstream.url)
    assert address.hostname is not None
    assert address.port is not None
    with HttpFaultProxy((address.hostname, address.port)) as one:
        yield one


def processor(line: HttpFaultProxy, further: str = "") -> dict[str, Any]:
    return processor_at(f"{line.url}/api/v2", further)


def processor_at(base_url: str, further: str) -> dict[str, Any]:
    extra = f"""
[processors.hosted]
type = "videovector"
base_url = "{base_url}"
api_key_env = "UPSTREAM_KEY"
index_id = "idx_main"
{further}
"""
    return {"extra": extra, "automation": AUTOMATION, "environ": {"UPSTREAM_KEY": ADMIN_KEY}}


def made(upstream: Daemon) -> tuple[int, int, int]:
    """How many imports, media and runs the upstream has."""
    counted = [
        upstream.rows(f"SELECT count(*) FROM {each}")[0][0]
        for each in ("import_jobs", "media", "prompt_runs")
    ]
    return counted[0], counted[1], counted[2]


def finished(ours: Daemon) -> int:
    """How many media of ours have been processed."""
    return sum(run["completed_videos"] for run in ours.get("/prompt-runs"))


def results(ours: Daemon, media: Any) -> list[Any]:
    [run] = ours.get(f"/videos/{media['video_id']}/prompt-runs")
    page = ours.get(f"/prompt-runs/{run['run_id']}/results?video_id={media['video_id']}")
    return list(page["data"])


def media_of(ours: Daemon) -> list[Any]:
    return list(ours.get("/indexes/idx_main/videos?limit=100")["data"])


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("way", "further"), [("upload", ""), ("import", 'connectors = { in = "conn_shared" }')]
)
def test_what_the_upstream_finds_is_what_we_export(
    make: Make, upstream: Daemon, line: HttpFaultProxy, way: str, further: str
) -> None:
    ours = make(**processor(line, further))
    samples.video(ours.incoming / "clip [1] {x}.mp4", seconds=4)
    samples.audio(ours.incoming / "song.mp3", seconds=3)
    samples.image(ours.incoming / "still.png")
    with ours:
        exported = ours.outgoing
        wait_until(lambda: bool(list(exported.rglob("*.json"))), "it is exported", 90)
        assert {len(results(ours, each)) for each in media_of(ours)} == {1}
        [run] = ours.get("/prompt-runs")
        assert (run["status"], run["total_videos"], run["total_audios"], run["total_images"]) == (
            "completed",
            1,
            1,
            1,
        )
        [document] = [
            json.loads(path.read_text()) for path in exported.rglob("*.json") if "media" in path.read_text()
        ]
    assert len(document["media"]) == 3
    assert all(each["segments"][0]["metadata"]["opened_by"] == "start" for each in document["media"])
    assert made(upstream) == (3, 3, 3)
    uploads, imports = (
        line.count("POST /api/v2/workflow/upload"),
        line.count("POST /api/v2/import-jobs$|POST /api/v2/import-jobs "),
    )
    assert (uploads, imports) == ((3, 0) if way == "upload" else (0, 3))


@pytest.mark.timeout(300)
def test_a_kill_at_any_step_imports_and_pays_once(make: Make, upstream: Daemon, line: HttpFaultProxy) -> None:
    ours = make(**processor(line), heartbeat="1s")
    sample = samples.video(ours.incoming.parent / "sample.mp4", seconds=2)
    for number, (step, fault) in enumerate(KILLS):
        line.fail(fault, step, times=FOREVER)
        before = line.count(step)
        shutil.copy(sample, ours.incoming / f"{number}.mp4")
        with ours:
            wait_until(_seen(line, step, before), f"{step} is asked", 60)
            ours.kill()
        line.heal()
    with ours:
        wait_until(lambda: finished(ours) == len(KILLS), "all have been processed", 120)
        assert all(len(results(ours, each)) == 1 for each in media_of(ours))
        calls = ours.rows("SELECT purpose, status FROM llm_calls")
    assert made(upstream) == (len(KILLS),) * 3
    assert upstream.rows("SELECT count(*) FROM prompts WHERE name LIKE 'vvwatch %'") == [(1,)]
    assert [tuple(call) for call in calls] == [("videovector", "completed")] * len(KILLS)


@pytest.mark.timeout(120)
def test_a_run_that_is_cancelled_is_cancelled_upstream(
    make: Make, upstream: Daemon, line: HttpFaultProxy
) -> None:
    ours = make(**processor(line))
    samples.video(ours.incoming / "clip.mp4", seconds=2)
    looks = r"GET \S*/prompt-runs/run_\w+$"
    line.fail(Hang(), looks, times=FOREVER)
    with ours:
        wait_until(_seen(line, looks, 0), "the run is looked at", 60)
        [theirs] = upstream.get("/prompt-runs")
        line.heal()
        body = json.dumps({**theirs, "status": "processing"}).encode()
        line.fail(Answer(200, body, {"Content-Type": "application/json"}), looks, times=FOREVER)
        line.reset_all()
        wait_until(_seen(line, looks, line.count(looks)), "it is looked at again", 60)
        [run] = ours.get("/prompt-runs")
        ours.call("POST", f"/prompt-runs/{run['run_id']}/cancel")
        wait_until(lambda: ours.get(f"/prompt-runs/{run['run_id']}")["status"] == "cancelled", "it ends", 60)
    assert line.count(rf"POST \S*/prompt-runs/{theirs['run_id']}/cancel") == 1


@pytest.mark.timeout(120)
def test_a_segment_that_failed_there_is_retried_there_alone(make: Make) -> None:
    failed = {"vid_up": [failure(2, 4, 6)]}
    with VideoVectorStub(failures=failed, run_end="completed_with_failures") as stub:
        ours = make(**processor_at(stub.url, "segment_retries = 0\nusd_per_mt = 0.5"))
        samples.video(ours.incoming / "clip.mp4", seconds=6)
        with ours:
            wait_until(lambda: bool(ended(ours)), "the run has ended", 60)
            [run] = ended(ours)
            assert run["status"] == "completed_with_failures"
            [video] = ours.get(f"/prompt-runs/{run['run_id']}/failed-segments")["videos"]
            [lost] = video["segments"]
            assert lost["field_extraction_error"] == "the model gave up"
            here = f"/prompt-runs/{run['run_id']}/videos/{video['video_id']}/segments/{lost['segment_id']}"
            ours.call("POST", f"{here}/retry")
            wait_until(lambda: ended(ours)[0]["status"] == "completed", "it is mended", 60)
            [media] = media_of(ours)
            assert [each["metadata"] for each in results(ours, media)] == [
                {"topic": f"topic {number}"} for number in range(3)
            ]
            calls = ours.rows("SELECT purpose, cost_nanousd FROM llm_calls ORDER BY id")
        assert stub.made == {"imports": 1, "prompts": 1, "runs": 1, "retries": 1}
    assert [tuple(call) for call in calls] == [("videovector", 10**9), ("videovector.segment", 25 * 10**7)]


def ended(ours: Daemon) -> list[Any]:
    return [run for run in ours.get("/prompt-runs") if run["status"].startswith("completed")]


def _seen(line: HttpFaultProxy, step: str, before: int) -> Callable[[], bool]:
    return lambda: line.count(step) > before
