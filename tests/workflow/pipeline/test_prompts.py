from __future__ import annotations

from pathlib import Path

import pytest

from vvwatch.config import load
from vvwatch.errors import ConfigInvalid
from vvwatch.processors.technical.processor import Limits, TechnicalProcessor
from vvwatch.workflow.pipeline.prompts import check_prompts

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


def test_a_prompt_is_asked_of_the_processor_that_its_model_names(tmp_path: Path) -> None:
    named = 'prompt = { prompt_id = "people", processing_model = "gpt-4" }\n'
    text = (
        ASKS.replace('prompt = "people"\n', named)
        + '[processors.technical]\ntype = "technical"\nmodels = ["gpt-*"]\n'
    )

    with pytest.raises(ConfigInvalid, match="needs a model or a command"):
        check(tmp_path, text)


def test_a_processor_that_is_new_in_the_file_waits_for_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "vvwatch.toml"
    named = 'prompt = { processing_model = "gpt" }\n[processors.gpt]\ntype = "openai"\n'
    path.write_text(GOOD.format(base=tmp_path) + named + 'base_url = "http://127.0.0.1:1/v1"\nmodel = "m"\n')
    reloaded = load(path, {}).model_copy(update={"processors": {}})

    with pytest.raises(ConfigInvalid, match="no processor answers to the model 'gpt'") as refused:
        check_prompts(reloaded, {})
    [problem] = refused.value.problems
    assert (problem.line, problem.allowed) == (11, "technical")
    assert "restart" in problem.hint
