from __future__ import annotations

from pathlib import Path

import pytest

from vvwatch.config import load
from vvwatch.errors import ConfigInvalid
from vvwatch.processors.technical import Limits, TechnicalProcessor
from vvwatch.workflow.prompts import check_prompts

GOOD = """state_dir = "{base}/state"
[local]
roots = ["{base}"]
[connectors.in]
type = "local"
path = "{base}"
[indexes.main]
[automations.main]
index = "main"
connector = "in"
"""
ASKS = (
    GOOD
    + """prompt = "people"
[prompts.people]
prompt_text = "Count the people in the picture."
json_schema = { type = "object", properties = { people = { type = "integer" } } }
"""
)


def check(tmp_path: Path, text: str) -> None:
    path = tmp_path / "vvwatch.toml"
    path.write_text(text.replace("{base}", str(tmp_path)))
    technical = TechnicalProcessor(limits=Limits(), work_dir=tmp_path)
    check_prompts(load(path, {}), {"technical": technical})


def test_the_technical_prompt_is_answered(tmp_path: Path) -> None:
    check(tmp_path, GOOD)


def test_a_prompt_that_needs_a_model_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="needs a model or a command") as refused:
        check(tmp_path, ASKS)
    [problem] = refused.value.problems
    assert (problem.line, problem.key) == (11, "automations.main.prompt.prompt_id")


def test_an_unknown_processor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="no processor is called 'gpt'") as refused:
        check(tmp_path, GOOD + 'prompt = { processing_model = "gpt" }\n')
    assert refused.value.problems[0].allowed == "technical"
