"""An endpoint that nobody here wrote, which judges its clients: llmock, at 60 requests a minute."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import httpx2
import pytest

from tests.fault_proxy import free_port
from tests.processors.openai.conftest import SCHEMA, WHOLE_SCHEMA, Rigs
from tests.processors.test_limiting import Alone
from vvwatch.clock import SystemClock
from vvwatch.core.processors import Rates
from vvwatch.ports.processing import Prompt
from vvwatch.processors.limiting import SharedLimiter
from vvwatch.processors.validation import validate

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

LLMOCK = Path(sys.executable).with_name("llmock")
PROMPT = Prompt("Say what is seen.", SCHEMA, {"instructions_text": "Name it.", "json_schema": WHOLE_SCHEMA})


@contextmanager
def llmock(*options: str) -> Iterator[str]:
    port = free_port()
    command = [str(LLMOCK), "serve", "--port", str(port), "--log-level", "error", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


async def is_up(url: str) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        with anyio.fail_after(60):
            while True:
                with suppress(httpx2.TransportError):
                    await client.get(f"{url}/health")
                    return
                await anyio.sleep(0.1)


def report(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LLMOCK), "report", "--url", url], capture_output=True, text=True, check=False, timeout=60
    )


async def test_its_verdict_on_us_at_60_requests_a_minute_is_pass(rig: Rigs) -> None:
    with llmock("--rpm", "60", "--error-rate", "503=0.05") as url:
        await is_up(url)
        clock = SystemClock()
        limiter = SharedLimiter(Rates(in_flight=8), clock, Alone())
        here = await rig(
            lambda _: pytest.fail("not this one"),
            PROMPT,
            segments=66,
            base_url=f"{url}/v1",
            max_in_flight=8,
            key="any",
            clock=clock,
            limiter=limiter,
        )
        result = await here.result()
        told = await anyio.to_thread.run_sync(report, url)
        await limiter.aclose()
    assert told.returncode == 0, told.stdout
    assert "FAIL" not in told.stdout
    assert "429" in told.stdout or "fault" in told.stdout
    assert [segment.error for segment in result.segments] == [None] * 66
    assert all(validate(SCHEMA, segment.metadata) == [] for segment in result.segments)
    assert validate(WHOLE_SCHEMA, result.metadata) == []
