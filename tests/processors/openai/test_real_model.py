"""A real llama.cpp server and a real model: what is sent is taken, and what is answered fits the schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.llama_server import llama_server
from tests.processing import MemoryJournal
from tests.processors.openai.conftest import PROMPT, SCHEMA, Rigs
from vvwatch.core.media import Segment
from vvwatch.errors import ProcessorRefused
from vvwatch.ports.processing import Prompt
from vvwatch.processors.validation import validate

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]  # a busy machine makes a token a second

WHOLE = {
    "type": "object",
    "properties": {
        "mood": {"type": "string", "enum": ["calm", "tense"]},
        "boats": {"enum": [0, 1, 2, 3]},
        "is_day": {"type": "boolean"},
    },
    "required": ["mood", "boats"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    with llama_server() as url:
        yield url


async def test_the_answer_of_a_real_model_fits_the_schema(rig: Rigs, llama: str) -> None:
    prompt = Prompt("Say it.", SCHEMA, {"instructions_text": "Name the film.", "json_schema": WHOLE})
    journal = MemoryJournal(
        kept={0: Segment(0, 10, {"summary": "two boats on a calm sea", "people": 0}, "two boats")}
    )
    here = await rig(
        lambda _: pytest.fail("not this one"),
        prompt,
        journal=journal,
        base_url=llama,
        timeout_seconds=500,
        max_output_tokens=60,
    )
    result = await here.result()
    assert result.warnings == ()
    assert validate(WHOLE, result.metadata) == []
    assert result.metadata["mood"] in {"calm", "tense"}
    [(_, _, usage)] = journal.ended
    assert usage.input_tokens > 100
    assert 0 < usage.output_tokens <= 60


async def test_a_real_model_without_eyes_is_told_once_and_found_by_the_examination(
    rig: Rigs, llama: str
) -> None:
    here = await rig(lambda _: pytest.fail("not this one"), PROMPT, base_url=llama, timeout_seconds=500)
    with pytest.raises(ProcessorRefused, match="takes no pictures"):
        await here.result()
    assert here.clock.slept == []
    problems = await here.processor.examine()
    assert any("does not list the model" in str(problem) for problem in problems)
    assert any("mmproj" in problem.hint for problem in problems)
