"""Endpoints that are down, slow, rude or wrong: a reason on the right record, and nothing paid for twice."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.chat_endpoint import Answer, Asked, ChatEndpoint, Raw, refused, said
from tests.processors.openai.conftest import GOOD, WITH_WHOLE, QuickClock, Rig, Rigs
from vvwatch.config import Secret
from vvwatch.core.money import CallStatus
from vvwatch.errors import InvalidInput, ProcessorPaused, ProcessorRefused, ProcessorUnavailable
from vvwatch.processors.openai.endpoint import Address, Endpoint
from vvwatch.processors.openai.troubles import Trouble

pytestmark = pytest.mark.anyio

KEY = "sk-very-secret-0123456789"


def raw(*pieces: bytes, resets: bool = False, forever: bytes = b"", pause: float = 0.0) -> Answer:
    """Bytes on the connection: these, then `forever` again and again; then it is closed, or reset."""

    async def write(writer: asyncio.StreamWriter) -> None:
        for piece in itertools.chain(pieces, itertools.repeat(forever) if forever else ()):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        if resets:
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    run: Raw = write
    return Answer(raw=run)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
AWAY: dict[str, Answer] = {
    "500": refused(500, "boom"),
    "503": refused(503, "warming up"),
    "a large page with 503": Answer(b"<html>" + b"a" * 200_000, 503, {"Content-Type": "text/html"}),
    "packed badly": Answer(b"no gzip", 503, {"Content-Encoding": "gzip"}),
    "a page with 502": Answer(b"<html>Bad gateway</html>", 502, {"Content-Type": "text/html"}),
    "a page with 200": Answer(b"<html>Log in</html>", 200, {"Content-Type": "text/html"}),
    "reset at once": raw(resets=True),
    "reset within the body": raw(HEAD + b'Content-Length: 999\r\n\r\n{"choices"', resets=True),
    "cut off": raw(HEAD + b'Content-Length: 999\r\n\r\n{"choices"'),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "endless headers": raw(b"HTTP/1.1 200 OK\r\n", forever=b"X-Y: z\r\n" * 100),
    "an error inside a 200": Answer({"error": {"message": "upstream is down", "code": 503}}),
    "an error inside a choice": Answer({"choices": [{"error": {"message": "provider failed", "code": 502}}]}),
}
SLOW: dict[str, Answer] = {
    "slow headers": raw(b"HTTP/1.1 200 OK\r\n", forever=b"A: b\r\n", pause=0.05),
    "dribbles": raw(HEAD + b"\r\n", forever=b" ", pause=0.05),
}


@pytest.mark.parametrize("name", AWAY)
async def test_an_endpoint_that_is_away_lets_the_item_wait(rig: Rigs, name: str) -> None:
    here = await rig(lambda _: AWAY[name])
    with pytest.raises(ProcessorUnavailable) as error:
        await here.result()
    assert len(here.endpoint.chats) == 3
    assert len({each.key for each in here.endpoint.chats}) == 1
    assert here.clock.slept == sorted(here.clock.slept)
    assert [status for _, status, _ in here.journal.ended] == [CallStatus.FAILED]
    assert here.journal.kept == {}
    assert error.value.message


@pytest.mark.parametrize("name", SLOW)
async def test_an_answer_that_never_ends_ends_at_the_deadline(rig: Rigs, name: str) -> None:
    here = await rig(lambda _: SLOW[name], timeout_seconds=0.5)
    with pytest.raises(ProcessorUnavailable, match=r"no whole answer within 0.5 s"):
        await here.result()


async def test_a_model_that_is_not_there_pauses_the_processor_and_fails_nothing(rig: Rigs) -> None:
    here = await rig(lambda _: refused(404, "model 'x' not found, try pulling it first"), segments=3)
    with pytest.raises(ProcessorPaused, match="model 'x' not found") as raised:
        await here.result()
    assert "ollama pull" in raised.value.hint
    assert not here.journal.kept


async def test_nobody_listens(rig: Rigs) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        here = await rig(lambda _: said(GOOD), base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        with pytest.raises(ProcessorUnavailable, match="connection failed"):
            await here.result()


HUGE = b'{"choices":[{"message":{"content":"' + b"a" * (17 << 20) + b'"}}]}'
FAILS: dict[str, tuple[Answer, int, str]] = {
    "100 MB": (raw(HEAD + b"\r\n", forever=b"a" * 65536), 1, "longer than 16 MiB"),
    "a bomb": (Answer(gzip.compress(HUGE), headers={"Content-Encoding": "gzip"}), 1, "longer than 16 MiB"),
    "another coding": (Answer(b"x", headers={"Content-Encoding": "br"}), 1, "coding"),
    "no gzip": (Answer(b"no gzip", headers={"Content-Encoding": "gzip"}), 2, "damaged"),
    "five million values": (Answer(b'{"choices": [' + b"[]," * 5_000_000 + b"1]}"), 2, "no answer"),
    "418 and a novel": (refused(418, "no tea" * 100_000), 1, "418"),
    "no JSON": (Answer(b'{"choices": [{"message"'), 2, "no answer"),
    "a list": (Answer(b"[]"), 2, "no answer"),
    "nothing": (Answer(b""), 2, "no answer"),
    "no choices": (Answer({"id": "x"}), 2, "without an answer"),
    "deep JSON": (Answer(b"[" * 100_000), 2, "no answer"),
    "400": (refused(400, "what?"), 1, "400: what?"),
    "404": (refused(404, "what?"), 1, "404: what?"),
    "413": (refused(413), 1, "413"),
    "422": (Answer({"detail": [{"msg": "no"}]}, 422), 1, "422"),
    "empty choices": (Answer({"choices": []}), 2, "no JSON object"),
    "wrong types": (Answer({"choices": [{"message": {"content": 5}}], "usage": "much"}), 2, "no JSON object"),
    "odd usage": (said("no", usage=(-5, 10**30)), 2, "no JSON object"),
    "null content": (said(None), 2, "no JSON object"),
    "only thoughts": (said("", reasoning_content='{"summary": "x", "people": 1}'), 2, "no JSON object"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILS)
async def test_an_answer_that_is_none_fails_its_segment(rig: Rigs, name: str) -> None:
    answer, calls, reason = FAILS[name]
    here = await rig(lambda asked: answer if '"segment":1,' in asked.text else said(GOOD), segments=2)
    result = await here.result()
    assert reason in (result.segments[0].error or "")
    assert result.segments[1].metadata == GOOD
    assert sum('"segment":1,' in each.text for each in here.endpoint.chats) == calls
    assert here.journal.kept[0] == result.segments[0]


PAID = {
    "never whole": (SLOW["dribbles"], True),
    "cut off": (AWAY["cut off"], True),
    "no answer": (FAILS["no JSON"][0], True),
    "too long": (FAILS["100 MB"][0], True),
    "refused": (FAILS["400"][0], False),
    "away": (AWAY["503"], False),
    "reset at once": (AWAY["reset at once"], False),
}


@pytest.mark.parametrize("name", PAID)
async def test_what_an_answer_may_have_cost_that_never_came_is_counted_once(rig: Rigs, name: str) -> None:
    answer, is_paid = PAID[name]
    prices = {"*": {"usd_per_call": 0.5}}
    here = await rig(
        lambda _: answer, segments=1, timeout_seconds=0.5 if name == "never whole" else 60, prices=prices
    )
    with suppress(ProcessorUnavailable):
        await here.result()
    [(_, status, usage)] = here.journal.ended
    assert status is CallStatus.FAILED
    assert usage.cost_usd == (0.5 if is_paid else 0)
    assert (usage.output_tokens > 0) is is_paid


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_key_pauses_the_processor_and_retries_nothing(rig: Rigs, status: int) -> None:
    here = await rig(lambda _: refused(status, f"Incorrect API key provided: {KEY}"), key=KEY)
    with pytest.raises(ProcessorPaused) as error:
        await here.result()
    assert len(here.endpoint.chats) == 1
    assert here.endpoint.chats[0].headers["authorization"] == f"Bearer {KEY}"
    assert here.limiter.paused == [error.value]
    assert "api_key_file" in error.value.hint
    assert KEY not in error.value.message
    assert here.journal.kept == {}


@pytest.mark.parametrize("status", [402, 429])
async def test_an_account_without_money_pauses_too(rig: Rigs, status: int) -> None:
    here = await rig(lambda _: refused(status, "You exceeded your quota", code="insufficient_quota"))
    with pytest.raises(ProcessorPaused) as error:
        await here.result()
    assert "top up" in error.value.hint
    assert len(here.endpoint.chats) == 1


async def test_a_redirect_is_not_followed_and_pauses(rig: Rigs) -> None:
    here = await rig(lambda _: Answer(b"", 307, {"Location": "http://127.0.0.1:1/steal"}), key=KEY)
    with pytest.raises(ProcessorPaused) as error:
        await here.result()
    assert "base_url" in error.value.hint


async def test_busy_holds_all_back_for_as_long_as_is_asked(rig: Rigs) -> None:
    waits = iter([{"Retry-After": "7"}, {"retry-after-ms": "2500"}])

    def answers(_: Asked) -> Answer:
        headers = next(waits, None)
        return said(GOOD) if headers is None else refused(429, "slow down", headers)

    here = await rig(answers)
    assert (await here.result()).segments[0].metadata == GOOD
    assert here.limiter.held_back == here.clock.slept == [7, 2.5]
    assert len({each.key for each in here.endpoint.chats}) == 1


async def test_a_long_wait_is_the_items_not_the_calls(rig: Rigs) -> None:
    here = await rig(lambda _: refused(429, "daily limit", {"Retry-After": "3600"}))
    with pytest.raises(ProcessorUnavailable) as error:
        await here.result()
    assert error.value.retry_after_seconds == 3600
    assert here.limiter.held_back == [3600]
    assert here.clock.slept == []


async def test_busy_for_ever_is_asked_only_so_often(rig: Rigs) -> None:
    here = await rig(lambda _: refused(429, "slow down"))
    with pytest.raises(ProcessorUnavailable):
        await here.result()
    assert len(here.endpoint.chats) == 8


async def test_each_kind_of_trouble_has_tries_of_its_own(rig: Rigs) -> None:
    answers = iter([*[refused(429, "slow down")] * 5, refused(503, "warming up"), refused(503, "warming up")])
    here = await rig(lambda _: next(answers, said(GOOD)))
    assert (await here.result()).segments[0].metadata == GOOD
    assert len(here.endpoint.chats) == 8


async def test_a_model_that_takes_no_pictures_is_found_once(rig: Rigs) -> None:
    here = await rig(lambda _: refused(500, "image input is not supported - provide the mmproj"), segments=1)
    for _ in range(3):
        with pytest.raises(ProcessorRefused, match="takes no pictures"):
            await here.result()
    assert len(here.endpoint.chats) == 1
    here.clock.mono += 601
    with pytest.raises(ProcessorRefused):
        await here.result()
    assert len(here.endpoint.chats) == 2


async def test_a_segment_that_is_too_long_is_asked_with_half_of_its_pictures_once(rig: Rigs) -> None:
    def answers(asked: Asked) -> Answer:
        too_long = refused(400, "maximum context length is 4096", code="context_length_exceeded")
        return too_long if len(asked.pictures) > 2 else said(GOOD)

    here = await rig(answers, frames_per_segment=4, max_in_flight=1)
    assert (await here.result()).segments[0].metadata == GOOD
    assert [len(each.pictures) for each in here.endpoint.chats] == [4, 2]
    assert len({each.key for each in here.endpoint.chats}) == 2
    never = await rig(
        lambda _: refused(400, "maximum context length is 16", code="context_length_exceeded"), segments=2
    )
    result = await never.result()
    assert [each.error is None for each in result.segments] == [False, False]
    assert "context length" in (result.segments[0].error or "")


async def test_an_answer_that_is_cut_off_gets_more_room_once(rig: Rigs) -> None:
    def answers(asked: Asked) -> Answer:
        return said(GOOD) if asked.body["max_tokens"] > 2000 else said('{"summary": "a b', finish="length")

    here = await rig(answers)
    assert (await here.result()).segments[0].metadata == GOOD
    assert [each.body["max_tokens"] for each in here.endpoint.chats] == [2000, 8000]
    assert [(key.split(":")[2], status) for key, status, _ in here.journal.ended] == [
        ("0", CallStatus.COMPLETED),
        ("1", CallStatus.COMPLETED),
    ]
    never = await rig(lambda _: said('{"summary": "a b', finish="length"))
    [segment] = (await never.result()).segments
    assert "cut off" in (segment.error or "")
    assert segment.metadata_text == '{"summary": "a b'
    assert len(never.endpoint.chats) == 2


async def test_the_text_stays_where_more_room_is_refused(rig: Rigs) -> None:
    def answers(asked: Asked) -> Answer:
        if asked.body["max_tokens"] > 2000:
            return refused(400, "max_tokens is too large: 8000")
        return said('{"summary": "a b', finish="length")

    [segment] = (await (await rig(answers)).result()).segments
    assert "too large" in (segment.error or "")
    assert segment.metadata_text == '{"summary": "a b'


REFUSALS: dict[str, tuple[Callable[[], Answer], str]] = {
    "refusal": (lambda: said("", refusal="I cannot help with that."), "I cannot help"),
    "filter": (lambda: said("half an an", finish="content_filter"), "content_filter"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_is_final_and_keeps_its_text(rig: Rigs, name: str) -> None:
    answer, reason = REFUSALS[name]
    here = await rig(lambda _: answer())
    [segment] = (await here.result()).segments
    assert reason in (segment.error or "")
    assert segment.metadata_text == json.loads(json.dumps(answer().body["choices"][0]["message"]["content"]))
    assert len(here.endpoint.chats) == 1


SHAPES: dict[str, Answer] = {
    "parts": Answer({"choices": [{"message": {"content": [{"type": "text", "text": json.dumps(GOOD)}]}}]}),
    "a tool call": said(None, tool_calls=[{"function": {"name": "f", "arguments": json.dumps(GOOD)}}]),
    "a function call": said(None, function_call={"name": "f", "arguments": json.dumps(GOOD)}),
    "an object": Answer({"choices": [{"message": {"content": GOOD}}]}),
    "gzip": Answer(gzip.compress(json.dumps(said(GOOD).body).encode()), headers={"Content-Encoding": "gzip"}),
    "thoughts before": said(f"<think>Hm, {{}}?</think>{json.dumps(GOOD)}"),
    "numbers as texts": said({**GOOD, "people": "2", "mood": None}),
}


@pytest.mark.parametrize("name", SHAPES)
async def test_answers_of_many_shapes_are_read(rig: Rigs, name: str) -> None:
    here = await rig(lambda _: SHAPES[name])
    assert (await here.result()).segments[0].metadata == GOOD
    assert len(here.endpoint.chats) == 1


async def test_the_model_that_answered_is_kept_without_its_path(rig: Rigs) -> None:
    models: list[str | None] = []
    here = await rig(lambda _: said(GOOD, model="/home/ann/models/qwen.gguf"))
    end_call = here.journal.end_call

    async def watched(*told: Any, **more: Any) -> None:
        models.append(more["model"])
        await end_call(*told, **more)

    here.journal.end_call = watched  # type: ignore[method-assign]
    await here.result()
    assert models == ["qwen.gguf"]


async def test_parameters_that_a_model_refuses_are_left_out_from_then_on(rig: Rigs) -> None:
    def answers(asked: Asked) -> Answer:
        if "max_tokens" in asked.body:
            return refused(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if "temperature" in asked.body:
            return refused(400, "Unsupported value: 'temperature' does not support 0 with this model.")
        return said(GOOD)

    here = await rig(answers)
    await here.result()
    names = {"max_tokens", "max_completion_tokens", "temperature"}
    assert [sorted(each.body.keys() & names) for each in here.endpoint.chats] == [
        ["max_tokens", "temperature"],
        ["max_completion_tokens", "temperature"],
        ["max_completion_tokens"],
    ]


async def test_a_whole_that_is_no_good_is_an_error_and_the_segments_stand(rig: Rigs) -> None:
    here = await rig(lambda asked: said(GOOD) if asked.pictures else said("no"), WITH_WHOLE)
    result = await here.result()
    assert result.segments[0].metadata == GOOD
    assert result.metadata == {}
    assert (result.whole_error, result.warnings) == ("there is no JSON object in the answer", ())


async def test_proxies_of_the_environment_are_not_used(rig: Rigs, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    here = await rig(lambda _: said(GOOD))
    assert (await here.result()).segments[0].metadata == GOOD


async def test_a_certificate_of_nobody_is_refused_and_one_of_ca_file_taken(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with ChatEndpoint(lambda _: said(GOOD)).running(context) as stub:
        trusting = Endpoint(Address(stub.url, ca_file=tmp_path / "ca.pem"), QuickClock())
        assert (await trusting.chat({}, "key")).model == "model-1"
        await trusting.aclose()
        strict = Endpoint(Address(stub.url), QuickClock())
        with pytest.raises(Trouble, match="CERTIFICATE_VERIFY_FAILED"):
            await strict.chat({}, "key")
        await strict.aclose()


@pytest.mark.parametrize("key", ["two\nlines", "näh", " spaced"])
def test_a_key_that_no_header_may_have_is_refused_unseen(key: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Endpoint(Address("http://127.0.0.1:1", Secret(key)), QuickClock())
    assert key not in str(error.value)


async def test_the_key_is_shown_nowhere(rig: Rigs) -> None:
    here: Rig = await rig(lambda _: refused(400, f"bad request by {KEY[3:]}"), key=KEY)
    [segment] = (await here.result()).segments
    shown = [repr(here.processor), repr(vars(here.processor)), repr(segment), repr(here.journal)]
    assert all(KEY not in text for text in shown)
