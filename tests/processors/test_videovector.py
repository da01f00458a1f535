"""Delegation to a VideoVector, against one that does what a test wants."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests import videovector_stub as stubs
from tests.processing import MemoryJournal, OpenLimiter, item_of
from tests.videovector_stub import VideoVectorStub, failure, refuses, says, segment
from vvwatch.config import Secret
from vvwatch.config.processors import VideoVectorProcessor as VideoVectorTable
from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.core.money import CallStatus, Usage, Workload
from vvwatch.core.processors import ProcessorInfo
from vvwatch.errors import (
    BudgetReached,
    InvalidInput,
    ProcessorError,
    ProcessorPaused,
    ProcessorRefused,
    ProcessorUnavailable,
    RunStopped,
)
from vvwatch.ports.processing import Call, CallIntent, Prompt
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.registry import Resources
from vvwatch.processors.videovector.processor import Address, Terms, VideoVectorProcessor, open_processor

pytestmark = pytest.mark.anyio

TOPIC = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}
PROMPT = Prompt("Name the topic of the scene.", TOPIC, None)
INFO = ProcessorInfo("hosted", "videovector", ("gemini-*",))


@dataclass
class QuickClock:
    """A clock that sleeps by moving on, so that hours of polling take no time."""

    wall: float = 1_790_000_000.0
    slept: int = 0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.wall

    async def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.slept += 1
        await anyio.lowlevel.checkpoint()


@dataclass
class Keyed(MemoryJournal):
    """A journal whose keys differ between the retries of an item, as those of the database do."""

    generation: str = "first"

    async def begin_call(self, intent: CallIntent) -> Call:
        call = await super().begin_call(intent)
        return replace(call, key=f"{call.key}{self.generation}")


@dataclass
class House:
    """The processor against the stub, an item, and what came of it; each `life` is a process that begins anew."""

    stub: VideoVectorStub
    path: Path
    journal: Keyed
    limiter: OpenLimiter
    clock: QuickClock

    @asynccontextmanager
    async def life(self, **terms: Any) -> AsyncIterator[VideoVectorProcessor]:
        address = Address(
            "hosted", self.stub.url, Secret(stubs.KEY), timeout_seconds=terms.pop("timeout", 30)
        )
        wanted = Terms("idx_up", **{"usd_per_mt": 0.5, **terms})
        one = VideoVectorProcessor(
            INFO, address, wanted, self.limiter, clock=self.clock, sample=lambda: 0.5, usd_per_minute=0.3
        )
        try:
            yield one
        finally:
            await one.aclose()

    async def process(self, prompt: Prompt = PROMPT, **options: Any) -> ProcessingResult:
        settings = options.pop("settings", None)
        fields = {each: options.pop(each) for each in ("generation", "only", "key") if each in options}
        generation = fields.get("generation", "first")
        if generation != self.journal.generation:
            self.journal.generation, self.journal.calls = generation, {}
        async with self.life(**options) as one:
            return await one.process(item_of(self.path, prompt, settings, journal=self.journal, **fields))

    async def fails(self, **options: Any) -> ProcessorError:
        with pytest.raises(ProcessorError) as caught:
            await self.process(**options)
        assert stubs.KEY not in f"{caught.value} {caught.value.hint}"
        return caught.value


@pytest.fixture
def stub() -> Iterator[VideoVectorStub]:
    with VideoVectorStub() as one:
        yield one


@pytest.fixture
def house(stub: VideoVectorStub, tmp_path: Path) -> House:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"media" * 1000)
    return House(stub, path, Keyed(), OpenLimiter(), QuickClock())


def topics(result: ProcessingResult) -> list[Any]:
    return [
        (each.start_time, each.end_time, each.metadata.get("topic"), each.error) for each in result.segments
    ]


async def test_an_item_is_uploaded_run_and_read(house: House) -> None:
    house.stub.import_polls = house.stub.run_polls = 3
    result = await house.process()

    assert topics(result) == [(0, 2, "topic 0", None), (2, 4, "topic 1", None)]
    assert house.stub.made == {"imports": 1, "prompts": 1, "runs": 1}
    assert house.clock.slept == 4
    upload = house.stub.bodies[house.stub.asked.index("POST /workflow/upload")]
    assert b"media" * 1000 in upload
    assert b'filename="clip.mp4"' in upload
    assert house.journal.kept == dict(enumerate(result.segments))


async def test_a_connector_of_the_upstream_is_told_the_very_key(house: House) -> None:
    await house.process(connectors={"conn_1": "conn_up"}, key="in/a [1]{x}.mp4")

    body = house.stub.bodies[house.stub.asked.index("POST /import-jobs")]
    assert house.stub.count("POST /workflow/upload") == 0
    assert body == {
        "connector_id": "conn_up",
        "index_id": "idx_up",
        "source_prefix": "in/a [1]{x}.mp4",
        "file_pattern": "a ?1??x?.mp4",
        "recursive": True,
        "import_mode_override": "all",
    }


async def test_times_of_parts_are_those_of_the_whole(house: House) -> None:
    house.stub.parts = {"vid_b": 2400.0, "vid_a": 0.0}
    house.stub.segments = {
        "vid_a": [[segment(0, 0, 2400)]],
        "vid_b": [[segment(1, 0, 30)], [segment(2, 30, 60)]],
    }
    whole = {"run_id": "run_1", "prompt_id": "prompt_1", "executed_at": stubs.AT, "status": "completed"}
    for name in ("vid_a", "vid_b"):
        house.stub.wholes[name] = {**whole, "video_id": name, "metadata": {"of": name}, "metadata_text": name}

    result = await house.process()

    assert [each[:3] for each in topics(result)] == [
        (0, 2400, "topic 0"),
        (2400, 2430, "topic 1"),
        (2430, 2460, "topic 2"),
    ]
    assert result.metadata == {
        "parts": [
            {"start_time": 0.0, "metadata": {"of": "vid_a"}},
            {"start_time": 2400.0, "metadata": {"of": "vid_b"}},
        ]
    }
    assert "2 parts" in result.warnings[0]


async def test_settings_and_the_model_that_somebody_named_are_passed_on(house: House) -> None:
    settings = RunSettings("fixed", 10, "fixed", 30, "gemini-2.5-flash", False, False)
    await house.process(settings=settings)

    body = house.stub.bodies[house.stub.asked.index("POST /prompt-runs/execute")]
    assert body == {
        "prompt_id": "prompt_1",
        "target": {"type": "videos", "video_ids": ["vid_up"], "index_id": "idx_up"},
        "video_segmentation_type": "fixed",
        "video_segment_duration": 10,
        "audio_segmentation_type": "fixed",
        "audio_segment_duration": 30,
        "processing_model": "gemini-2.5-flash",
        "enable_transcription": False,
        "enable_image_embedding": False,
    }


@pytest.mark.parametrize(
    ("named", "asked"), [(None, "gemini-x"), ("hosted", "gemini-x"), ("gemini-y", "gemini-y")]
)
async def test_our_own_name_is_no_model_of_the_upstream(house: House, named: str | None, asked: str) -> None:
    await house.process(settings=RunSettings(processing_model=named), model="gemini-x")

    body = house.stub.bodies[house.stub.asked.index("POST /prompt-runs/execute")]
    assert body["processing_model"] == asked


async def test_a_prompt_is_made_once_and_found_again(house: House) -> None:
    await house.process()
    house.journal = Keyed()
    await house.process()
    level = {"instructions_text": "Sum up.", "json_schema": TOPIC}
    house.journal = Keyed()
    await house.process(replace(PROMPT, video_level=level))

    assert house.stub.made["prompts"] == 2
    first, second = house.stub.prompts
    assert (first["prompt_text"], first["json_schema"]) == (PROMPT.prompt_text, TOPIC)
    assert second["video_level"] == level


async def test_a_prompt_that_somebody_deleted_there_is_made_again(house: House) -> None:
    async with house.life() as one:
        await one.process(item_of(house.path, PROMPT, journal=house.journal))
        gone = refuses(404, "resource_prompt_not_found", "no such prompt")
        house.stub.prompts.clear()
        house.journal = Keyed(generation="second")
        house.stub.answers["POST /prompt-runs/estimate"] = gone
        with pytest.raises(ProcessorUnavailable, match="the prompt is made again"):
            await one.process(item_of(house.path, PROMPT, journal=house.journal))
        del house.stub.answers["POST /prompt-runs/estimate"]
        await one.process(item_of(house.path, PROMPT, journal=house.journal))

    assert house.stub.made["prompts"] == 2
    bodies = [body for body in house.stub.bodies if isinstance(body, dict) and "target" in body]
    assert bodies[-1]["prompt_id"] == "prompt_2"


async def test_a_fixed_prompt_that_is_not_there_is_told(house: House) -> None:
    house.stub.answers["POST /prompt-runs/estimate"] = refuses(404, "resource_prompt_not_found", "none")

    error = await house.fails(prompt_id="prompt_theirs")

    assert isinstance(error, ProcessorRefused)
    assert "has no prompt 'prompt_theirs'" in error.message


async def test_an_upstream_without_estimates_is_one_of_unknown_cost(house: House) -> None:
    house.stub.answers["POST /prompt-runs/estimate"] = refuses(404, "not_found")

    await house.process()

    [intent] = house.journal.calls[-1, "videovector", 0]["intents"]
    assert intent.estimate == Usage(cost_usd=None)


async def test_a_fixed_prompt_stands_for_ours(house: House) -> None:
    await house.process(Prompt("", {}, None), prompt_id="prompt_theirs")

    assert house.stub.made["prompts"] == 0
    body = house.stub.bodies[house.stub.asked.index("POST /prompt-runs/execute")]
    assert body["prompt_id"] == "prompt_theirs"


async def test_what_it_cost_is_entered(house: House) -> None:
    house.stub.run = {"billing_actual_mt": 3.0, "processing_model": "gemini-z"}
    house.stub.llm_calls = [
        {
            "llm_call_id": f"c{number}",
            "user_id": "u",
            "model": "gemini-z",
            "purpose": "segment",
            "status": "completed",
            "input_tokens": 100,
            "output_tokens": 10,
            "total_tokens": 110,
            "video_seconds": 2,
            "invoked_at": stubs.AT,
        }
        for number in range(3)
    ]
    await house.process()

    [intent] = house.journal.calls[-1, "videovector", 0]["intents"]
    assert intent.estimate == Usage(cost_usd=1.0)
    assert house.journal.ended == [("-1:videovector:0:first", CallStatus.COMPLETED, Usage(300, 30, 1.5))]


async def test_an_unknown_price_is_not_zero(house: House) -> None:
    house.stub.run = {"billing_actual_mt": 3.0}
    await house.process(usd_per_mt=None)

    assert house.journal.ended[0][2].cost_usd is None


async def test_the_budget_is_asked_before_anything_is_paid(house: House) -> None:
    house.journal.refuse = BudgetReached("no more", until=1.0)

    assert isinstance(await house.fails(), BudgetReached)
    assert house.stub.made["runs"] == 0

    house.journal.refuse = None
    await house.process()
    assert house.stub.made == {"imports": 1, "prompts": 1, "runs": 1}


async def test_an_upstream_without_balance_is_waited_for(house: House) -> None:
    house.stub.estimate = {"sufficient_balance": False, "current_balance_mt": 1.0}

    error = await house.fails()

    assert isinstance(error, ProcessorUnavailable)
    assert "is 1, and 2 are needed" in error.message
    assert house.stub.made["runs"] == 0


STEPS = (
    "POST /workflow/upload",
    "GET /import-jobs/job_1",
    "GET /import-jobs/job_1/outputs",
    "GET /prompts",
    "POST /prompts",
    "POST /prompt-runs/estimate",
    "POST /prompt-runs/execute",
    "GET /prompt-runs/run_1",
    "GET /prompt-runs/run_1/llm-calls",
    "GET /prompt-runs/run_1/failed-segments",
    "GET /prompt-runs/run_1/results",
    "GET /prompt-runs/run_1/videos/vid_up/video-result",
)


@pytest.mark.parametrize("step", STEPS)
async def test_a_life_that_ends_at_any_step_doubles_nothing(house: House, step: str) -> None:
    """The request arrives and is done; its answer does not, and neither does the process live on."""
    house.stub.answers[step] = lambda handler: _done_and_lost(house.stub, handler)
    await house.fails()
    del house.stub.answers[step]

    result = await house.process()

    assert len(result.segments) == 2
    assert house.stub.made == {"imports": 1, "prompts": 1, "runs": 1}
    assert [status for _, status, _ in house.journal.ended].count(CallStatus.COMPLETED) == 1


def _done_and_lost(stub: VideoVectorStub, handler: Any) -> None:
    key = handler.headers.get("Idempotency-Key") or ""
    path = handler.path.removeprefix("/api/v2").partition("?")[0]
    with stub._lock:
        stub._told(f"{handler.command} {path}", path, {"video_id": ["vid_up"]}, stub.bodies[-1], key)
    stubs.resets(handler)


async def test_a_run_of_an_upstream_that_forgets_keys_is_found_again(house: House) -> None:
    house.stub.answers["POST /prompt-runs/execute"] = lambda handler: _done_and_lost(house.stub, handler)
    await house.fails()
    house.stub.answers["POST /prompt-runs/execute"] = refuses(500, "must_not_be_asked_again")

    result = await house.process()

    assert len(result.segments) == 2
    assert house.stub.made["runs"] == 1


PASSING = {
    "reset": stubs.resets,
    "500": refuses(500, "boom"),
    "502 of a proxy": says(b"<html>Bad gateway</html>", 502, Content_Type="text/html"),
    "503": refuses(503, "llm_budget_guard_open"),
    "403 of a proxy": says(b"<html>Blocked</html>", 403, Content_Type="text/html"),
    "an error that is a text": says({"error": "boom"}, 500),
    "HTML": says(b"<html>Sign in</html>", 200, Content_Type="text/html"),
    "nothing": says(b"", 200),
    "cut JSON": says(b'{"run_id": "ru', 200),
    "redirect": says(b"", 302, Location="https://elsewhere.example.org/login"),
    "in progress": refuses(409, "idempotency_request_in_progress"),
}


@pytest.mark.parametrize(
    "step", ["POST /workflow/upload", "POST /prompt-runs/execute", "GET /prompt-runs/run_1"]
)
@pytest.mark.parametrize("fault", PASSING)
async def test_what_passes_is_waited_for(house: House, fault: str, step: str) -> None:
    house.stub.answers[step] = PASSING[fault]

    error = await house.fails()

    assert isinstance(error, ProcessorUnavailable), error
    assert house.stub.count(step) == 1  # the SDK tries nothing again by itself
    assert not house.limiter.paused
    del house.stub.answers[step]
    assert len((await house.process()).segments) == 2
    assert house.stub.made == {"imports": 1, "prompts": 1, "runs": 1}


async def test_who_does_not_answer_in_time_is_waited_for(house: House) -> None:
    for slow in (house.stub.hangs, house.stub.drips):
        house.stub.answers["GET /import-jobs/job_1"] = slow
        error = await house.fails(timeout=0.5)
        assert isinstance(error, ProcessorUnavailable)
        assert "within 0.5 s" in error.message


async def test_a_429_holds_all_back_for_as_long_as_it_says(house: House) -> None:
    house.stub.answers["POST /prompt-runs/execute"] = refuses(429, "rate_limit_exceeded", Retry_After="7")

    error = await house.fails()

    assert isinstance(error, ProcessorUnavailable)
    assert error.retry_after_seconds == 7
    assert house.limiter.held_back == [7]


@pytest.mark.parametrize(
    ("answer", "said", "hint"),
    [
        (
            refuses(401, "authentication_invalid_api_key", "unknown key"),
            "refuses the API key",
            "api_key_file",
        ),
        (refuses(403, "authorization_insufficient_scope", "needs write"), "needs write", "scope `write`"),
        (refuses(402, "payment_required", "top up"), "top up", "balance"),
        (refuses(404, "resource_index_not_found", "no index"), "no index", "set index_id"),
    ],
)
async def test_what_a_person_must_mend_pauses_the_processor(
    house: House, answer: stubs.Answer, said: str, hint: str
) -> None:
    house.stub.answers["POST /workflow/upload"] = answer

    error = await house.fails()

    assert isinstance(error, ProcessorPaused)
    assert house.limiter.paused == [error]
    assert said in error.message
    assert hint in error.hint
    assert house.stub.count("POST /workflow/upload") == 1


REFUSALS = {
    "422": refuses(422, "validation_error", "the file has no sound"),
    "413": refuses(413, "request_too_large", "too large"),
    "model": refuses(503, "model_not_configured", "no such model"),
    "key of another request": refuses(409, "idempotency_request_mismatch", "another request"),
    "endless": stubs.endless,
    "packed": says(b"\x1f\x8b", 200, Content_Encoding="gzip"),
    "another shape": says({"job": {"id": 1}}),
    "a list": says([1, 2]),
    "a number": says(7),
    "an id that leads elsewhere": says({"job_id": "../keys", "status": "pending", "progress": {}}),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_what_will_never_be_done_is_refused_and_told(house: House, refusal: str) -> None:
    house.stub.answers["POST /workflow/upload"] = REFUSALS[refusal]

    error = await house.fails()

    assert isinstance(error, ProcessorRefused), error
    assert "'hosted'" in error.message
    assert house.stub.made["runs"] == 0


async def test_an_import_job_that_is_lost_is_one_clear_failure(house: House) -> None:
    house.stub.answers["GET /import-jobs/job_1"] = refuses(404, "resource_import_job_not_found")

    error = await house.fails()

    assert isinstance(error, ProcessorRefused)
    assert error.message == "the upstream of 'hosted' lost the import job 'job_1'"


async def test_a_run_that_is_lost_is_not_paid_twice_unless_somebody_retries_it(house: House) -> None:
    house.stub.answers["GET /prompt-runs/run_1"] = refuses(404, "resource_prompt_run_not_found")

    assert "lost the run 'run_1'" in (await house.fails()).message
    assert "lost the run 'run_1'" in (await house.fails()).message
    assert house.stub.made["runs"] == 1
    assert [usage for _, _, usage in house.journal.ended] == [Usage(cost_usd=1.0)]

    assert len((await house.process(generation="retry_1")).segments) == 2
    assert house.stub.made["runs"] == 2


@pytest.mark.parametrize(
    ("step", "answer", "said"),
    [
        ("GET /import-jobs/job_1", {"status": "archiving"}, "the status 'archiving'"),
        ("GET /import-jobs/job_1", {"job_id": "job_7"}, "the import job 'job_7'"),
        ("GET /prompt-runs/run_1", {"status": "simmering"}, "the status 'simmering'"),
        ("GET /prompt-runs/run_1", {"run_id": "run_7"}, "the run 'run_7'"),
        ("GET /prompt-runs/run_1", {"run_context": None}, "run_context"),
    ],
)
async def test_an_upstream_of_another_version_is_told_by_what_came(
    house: House, step: str, answer: dict[str, Any], said: str
) -> None:
    told = house.stub._run("run_1") if "run" in step else house.stub._job("job_1")
    house.stub.answers[step] = says({**told, **answer})

    error = await house.fails()

    assert isinstance(error, ProcessorRefused)
    assert said in error.message
    assert house.stub.made["runs"] <= 1


async def test_ids_that_repeat_are_no_results(house: House) -> None:
    house.stub.segments = {"vid_up": [[segment(0, 0, 2)], [segment(0, 2, 4)]]}
    assert "two segments with the id 'seg_0'" in (await house.fails()).message

    house.stub.segments = {"vid_up": [[segment(0, 0, 2, video_id="vid_other")]]}
    assert "a segment of 'vid_other'" in (await house.fails()).message


async def test_pages_that_lead_in_a_circle_are_left(house: House) -> None:
    page = {"data": [], "pagination": {"limit": 1, "has_more": True, "next_cursor": "again"}}
    house.stub.answers["GET /prompt-runs/run_1/results"] = says(page)

    assert "pages without an end" in (await house.fails()).message
    assert house.stub.count("GET /prompt-runs/run_1/results") == 2


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_a_run_that_fails_there_fails_here_with_its_reason(house: House, end: str) -> None:
    house.stub.run_ends["run_1"] = end
    house.stub.failures = {"vid_up": [failure(0, 0, 2, field_extraction_error="the model is gone")]}

    error = await house.fails()

    assert isinstance(error, ProcessorRefused)
    assert f"ended the run 'run_1' {end}: the model is gone" in error.message
    assert [usage for _, _, usage in house.journal.ended] == [Usage(cost_usd=1.0)]

    house.stub.failures = {}
    assert len((await house.process(generation="retry_1")).segments) == 2
    assert house.stub.made == {"imports": 1, "prompts": 1, "runs": 2}


async def test_an_import_that_makes_nothing_says_why(house: House) -> None:
    house.stub.import_end = "failed"
    house.stub.parts = {}
    file = {"file_id": "1", "file_name": "clip.mp4", "source_ordinal": 0, "status": "failed"}
    told = {**file, "failure": {"error_code": "media_unreadable", "message": "no moov atom"}}
    house.stub.answers["GET /import-jobs/job_1/files"] = says(
        {"items": [told], "next_cursor": None, "total": 1}
    )

    assert "could not import 'clip.mp4': no moov atom" in (await house.fails()).message


async def test_failed_segments_are_tried_again_there_and_those_that_stay_are_told(house: House) -> None:
    house.stub.run_end = "completed_with_failures"
    house.stub.segments = {"vid_up": [[segment(0, 0, 2)]]}
    house.stub.failures = {
        "vid_up": [failure(1, 2, 4), failure(2, 4, 6, retryable=False, field_extraction_error="no speech")]
    }

    result = await house.process()

    assert topics(result) == [
        (0, 2, "topic 0", None),
        (2, 4, "topic 1", None),
        (4, 6, None, "no speech"),
    ]
    assert house.stub.made["retries"] == 1
    assert (
        "1:videovector.segment:0:first",
        CallStatus.COMPLETED,
        Usage(cost_usd=0.25),
    ) in house.journal.ended


async def test_retries_have_a_bound(house: House) -> None:
    house.stub.run_end = "completed_with_failures"
    house.stub.retry_end = "failed"
    house.stub.failures = {"vid_up": [failure(2, 4, 6)]}

    result = await house.process(segment_retries=2)

    assert [each.error for each in result.segments] == [None, None, "the model gave up"]
    assert house.stub.made["retries"] == 2


async def test_one_segment_is_retried_upstream_and_nothing_else_is_asked(house: House) -> None:
    house.stub.run_end = "completed_with_failures"
    house.stub.retry_end = "failed"
    house.stub.failures = {"vid_up": [failure(2, 4, 6)]}
    await house.process(segment_retries=0)
    house.stub.retry_end = "completed"

    result = await house.process(only=2, generation="retry_1")

    assert topics(result)[2] == (4, 6, "topic 2", None)
    assert house.stub.made == {"imports": 1, "prompts": 1, "runs": 1, "retries": 1}


async def test_an_answer_that_does_not_fit_our_schema_is_kept_and_told(house: House) -> None:
    house.stub.segments = {"vid_up": [[segment(0, 0, 2, metadata={"theme": "x"})]]}

    [found] = (await house.process()).segments

    assert found.metadata == {"theme": "x"}
    assert found.warning is not None
    assert '"topic" is a required property' in found.warning


PAGE = {"limit": 1, "has_more": False, "next_cursor": None}


async def test_what_cannot_be_stored_is_that_segments_failure(house: House) -> None:
    page = {"data": [segment(0, 0, 2)], "pagination": PAGE}
    text = json.dumps(page).replace('"topic 0"}', '"\\ud800"}')
    house.stub.answers["GET /prompt-runs/run_1/results"] = says(text.encode())

    [found] = (await house.process()).segments

    assert found.error is not None
    assert "cannot be stored" in found.error


@pytest.mark.parametrize("time", ["1e400", "-1e400", "NaN", "1e300"])
async def test_times_that_are_none_are_never_stored(house: House, time: str) -> None:
    page = {"data": [segment(0, 3, 4)], "pagination": PAGE}
    text = json.dumps(page).replace('"start_time": 3', f'"start_time": {time}')
    house.stub.answers["GET /prompt-runs/run_1/results"] = says(text.encode())

    [found] = (await house.process()).segments

    assert (found.start_time, found.end_time) == (0, 4)


async def test_a_whole_that_the_upstream_lacks_is_a_failure_and_no_segment(house: House) -> None:
    why = "the result of the whole is missing: the model refuses"
    house.stub.wholes["vid_up"] = {
        "run_id": "run_1",
        "prompt_id": "prompt_1",
        "video_id": "vid_up",
        "executed_at": stubs.AT,
        "status": "partial",
        "metadata": {},
        "metadata_text": "",
        "error_message": why,
    }
    of_all: dict[str, Any] = {
        "segment_id": "seg_1_whole",
        "failed_operations": ["processing"],
        "failure_message": why,
    }
    manifest: dict[str, Any] = {"run_id": "run_1", "status": "completed_with_failures"}
    manifest |= {"videos": [{"video_id": "vid_up", "segments": [of_all | {"retryable": True}]}]}
    house.stub.answers["GET /prompt-runs/run_1/failed-segments"] = says(json.dumps(manifest).encode())
    level = {"instructions_text": "Sum it up.", "json_schema": {"type": "object"}}

    result = await house.process(prompt=replace(PROMPT, video_level=level))

    assert [each.error for each in result.segments] == [None] * len(result.segments)
    assert (result.whole_error, result.metadata) == (why, {})


async def test_halves_of_characters_are_never_stored(house: House) -> None:
    whole: dict[str, Any] = {
        "run_id": "run_1",
        "prompt_id": "prompt_1",
        "executed_at": stubs.AT,
        "status": "completed",
    }
    whole |= {"video_id": "vid_up", "metadata": {"a": "MARK"}, "metadata_text": "MARK"}
    results = {"data": [segment(0, 0, 2, metadata_text="MARK")], "pagination": PAGE}
    for place, body in (("results", results), ("videos/vid_up/video-result", whole)):
        text = json.dumps(body).replace("MARK", "a\\ud800")
        house.stub.answers[f"GET /prompt-runs/run_1/{place}"] = says(text.encode())

    level = {"instructions_text": "And of the whole?", "json_schema": {"type": "object"}}
    result = await house.process(replace(PROMPT, video_level=level))

    assert [each.metadata_text for each in result.segments] == ["a?"]
    assert result.metadata == {}
    assert "cannot be stored" in (result.whole_error or "")


async def test_a_run_that_never_ends_is_given_up_and_cancelled(house: House) -> None:
    house.stub.run_polls = 10_000

    error = await house.fails(deadline_seconds=3600)

    assert isinstance(error, ProcessorRefused)
    assert "has not ended in 3600 s" in error.message
    assert house.stub.count("POST /prompt-runs/run_1/cancel") == 1
    assert house.clock.slept < 200
    assert [usage for _, _, usage in house.journal.ended] == [Usage(cost_usd=1.0)]


async def test_a_run_of_ours_that_is_cancelled_is_cancelled_there(house: House) -> None:
    house.stub.run_polls = 10_000
    journal = house.journal

    class Stopping(Keyed):
        async def begin_call(self, intent: CallIntent) -> Call:
            if len(self.calls):
                raise RunStopped("cancelled")
            return await super().begin_call(intent)

    house.journal = Stopping(**vars(journal))
    with pytest.raises(RunStopped):
        await house.process()

    assert house.stub.count("POST /prompt-runs/run_1/cancel") == 1


async def test_a_process_that_ends_cancels_nothing(house: House) -> None:
    house.stub.answers["GET /prompt-runs/run_1"] = house.stub.hangs
    async with anyio.create_task_group() as group:
        group.start_soon(house.process)
        with anyio.fail_after(40):
            await anyio.to_thread.run_sync(house.stub.hanging.wait, 30)
        group.cancel_scope.cancel()

    assert house.stub.count("POST /prompt-runs/run_1/cancel") == 0
    del house.stub.answers["GET /prompt-runs/run_1"]
    assert len((await house.process()).segments) == 2
    assert house.stub.made == {"imports": 1, "prompts": 1, "runs": 1}


async def test_the_ping_before_each_step_may_fail(house: House) -> None:
    house.stub.answers["POST /auth/processing-activity"] = refuses(500, "boom")

    assert len((await house.process()).segments) == 2


async def test_examining_tells_all_that_is_wrong(house: House) -> None:
    async with house.life(connectors={"conn_1": "conn_up"}) as one:
        assert await one.examine() == ()
        house.stub.answers["GET /indexes/idx_up"] = refuses(404, "resource_index_not_found", "no such index")
        house.stub.answers["GET /connectors/conn_up"] = refuses(404, "resource_connector_not_found", "gone")
        found = await one.examine()

    assert not house.limiter.paused
    assert [error.hint[:30] for error in found] == [
        "set index_id of this processor",
        "set the upstream's connector i",
    ]


BAD_PROMPTS: dict[str, Callable[[], Prompt]] = {
    "short": lambda: replace(PROMPT, prompt_text="Why?"),
    "long": lambda: replace(PROMPT, prompt_text="x" * 5001),
    "no object": lambda: replace(PROMPT, json_schema={"type": "array"}),
    "a dot": lambda: replace(PROMPT, json_schema={"type": "object", "properties": {"a.b": {}}}),
    "a bracket, deep inside": lambda: replace(
        PROMPT,
        json_schema={
            "type": "object",
            "properties": {"a": {"type": "array", "items": {"properties": {"b[]": {}}}}},
        },
    ),
    "no instructions": lambda: replace(PROMPT, video_level={"instructions_text": "", "json_schema": TOPIC}),
    "a bad whole": lambda: replace(PROMPT, video_level={"instructions_text": "x", "json_schema": {}}),
}


@pytest.mark.parametrize("bad", BAD_PROMPTS)
async def test_a_prompt_that_the_upstream_does_not_take_is_refused_beforehand(house: House, bad: str) -> None:
    async with house.life() as one:
        one.check_prompt(PROMPT)
        with pytest.raises(InvalidInput):
            one.check_prompt(BAD_PROMPTS[bad]())
    assert house.stub.asked == []


def test_another_version_of_the_sdk_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    table = VideoVectorTable(base_url="http://127.0.0.1:9/api/v2", index_id="idx_up")
    limits = Limits(memory_bytes=1 << 30, wall_seconds=60, max_pixels=1 << 20)
    resources = Resources(limits, Path("/nowhere"), QuickClock(), lambda *_: OpenLimiter(), print)
    open_processor("hosted", table, Secret(stubs.KEY), resources)
    monkeypatch.setattr(metadata, "version", lambda _: "3.0.0")

    with pytest.raises(
        InvalidInput, match=r"needs videovector==2\.0\.0, and videovector==3\.0\.0 is installed"
    ):
        open_processor("hosted", table, Secret(stubs.KEY), resources)


async def test_a_forecast_counts_minutes(house: House) -> None:
    async with house.life() as one:
        forecast = one.forecast(Workload("video", 3, 120.0, 3, 60), PROMPT, RunSettings())

    assert forecast.calls == 3
    assert forecast.cost_usd == pytest.approx(0.6)
