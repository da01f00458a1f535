"""`[processors.NAME]`: what may stand there, what is refused, and which processor a model names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vvwatch.config import Config, Problem, Secret
from vvwatch.config.processors import CommandProcessor, OpenAIProcessor
from vvwatch.core.money import Price

Read = Callable[..., Config]
Problems = Callable[..., list[Problem]]

GPT = '[processors.gpt]\ntype = "openai"\nbase_url = "http://127.0.0.1:11434/v1"\nmodel = "qwen3-vl:8b"\n'
OCR = '[processors.ocr]\ntype = "command"\ncommand = ["/bin/sh", "-c", "true"]\n'
HOSTED = (
    '[processors.hosted]\ntype = "videovector"\nbase_url = "https://api.example.org/api/v2"\n'
    'index_id = "idx_main"\napi_key_env = "UPSTREAM"\n'
)
KEYS = {"UPSTREAM": "sk_live_0123456789abcdef"}


def test_every_type_of_processor_can_be_declared(read: Read) -> None:
    config = read(GPT + OCR + HOSTED, KEYS)

    assert {name: table.type for name, table in config.processors.items()} == {
        "gpt": "openai",
        "ocr": "command",
        "hosted": "videovector",
    }
    assert config.processor_secrets == {"hosted": Secret(KEYS["UPSTREAM"])}
    assert KEYS["UPSTREAM"] not in repr(config)
    assert config.warnings == ()


def test_the_built_in_processor_is_there_without_a_table(read: Read) -> None:
    names = read("").processor_names

    assert list(names.infos) == ["technical"]
    assert names.choose(None).name == "technical"


def test_a_model_names_a_processor_by_its_name_or_by_a_glob_or_it_is_the_default(read: Read) -> None:
    text = GPT + 'models = ["gpt-*", "gemini-*"]\n' + OCR + '[processing]\ndefault = "ocr"\n'
    names = read(text).processor_names

    chosen = {model: names.choose(model).name for model in ("technical", "gpt", "gemini-2.5-flash", None)}
    assert chosen == {"technical": "technical", "gpt": "gpt", "gemini-2.5-flash": "gpt", None: "ocr"}
    assert names.choices() == "technical, gpt, ocr, gpt-*, gemini-*"


def test_a_model_that_several_answer_to_is_that_of_the_first_in_the_file(read: Read) -> None:
    everything = '[processors.technical]\ntype = "technical"\nmodels = ["*"]\n'
    narrow = GPT + 'models = ["gpt-*"]\n'

    assert read(narrow + everything).processor_names.choose("gpt-5").name == "gpt"
    assert read(everything + narrow).processor_names.choose("gpt-5").name == "technical"


def test_a_price_is_that_of_the_name_or_else_of_the_first_glob_and_may_be_unknown(read: Read) -> None:
    prices = '[processors.gpt.prices."q*"]\nusd_per_call = 1\n[processors.gpt.prices."qwen3-vl:8b"]\nusd_per_call = 0\n'
    table = read(GPT + prices).processors["gpt"]

    assert isinstance(table, OpenAIProcessor)
    assert table.price_of("qwen3-vl:8b") == Price(usd_per_call=0)
    assert table.price_of("qwen2") == Price(usd_per_call=1)
    assert table.price_of("gpt-4") is None


def test_a_program_has_longer_for_an_item_than_for_a_segment(read: Read) -> None:
    tables = [
        read(OCR + more).processors["ocr"] for more in ("", 'level = "item"\n', "timeout_seconds = 7\n")
    ]

    assert [table.call_seconds for table in tables if isinstance(table, CommandProcessor)] == [120, 600, 7]


def test_a_key_may_stand_in_a_file_beside_the_configuration(read: Read, tmp_path: Path) -> None:
    key = tmp_path / "gpt.key"
    key.write_text("sk-0123\n")
    key.chmod(0o600)

    assert read(GPT + 'api_key_file = "gpt.key"\n').processor_secrets == {"gpt": Secret("sk-0123")}


PROBLEMS = [
    ("[processors.x]\n", 1, "processors.x.type", "is required"),
    ('[processors.x]\ntype = "opnai"\n', 2, "processors.x.type", "did you mean 'openai'?"),
    (GPT.replace("base_url", "#"), 1, "processors.gpt.base_url", "is required"),
    (GPT.replace("gpt", "GPT"), 1, "processors.GPT", "cannot be a name"),
    (OCR.replace("ocr", "technical"), 2, "processors.technical.type", "the only one of its type"),
    ('[processors.fast]\ntype = "technical"\n', 2, "processors.fast.type", "the only one of its type"),
    (
        GPT + 'api_key = "sk-0123"\n',
        5,
        "processors.gpt.api_key",
        "write it to a file and name it with api_key_file",
    ),
    (GPT + 'api_key_env = "GONE"\n', 5, "processors.gpt.api_key_env", "the variable GONE is not set"),
    (GPT + 'api_key_env = "SPACED"\n', 5, "processors.gpt.api_key_env", "is no such secret"),
    (
        GPT + 'api_key_env = "A"\napi_key_file = "b"\n',
        1,
        "processors.gpt",
        "one of api_key_file, api_key_env",
    ),
    (GPT + 'level = "item"\n', 5, "processors.gpt.level", 'it belongs to type = "command"'),
    (GPT + "max_in_flight = 0\n", 5, "processors.gpt.max_in_flight", "1 or more"),
    (GPT + "requests_per_minute = 0.5\n", 5, "processors.gpt.requests_per_minute", "whole number"),
    (GPT + 'models = [""]\n', 5, "processors.gpt.models[0]", "is too short"),
    (GPT.replace("/v1", "/v1/chat/completions"), 3, "processors.gpt.base_url", "leave out /chat/completions"),
    (GPT.replace("http://", "ftp://"), 3, "processors.gpt.base_url", "https://host"),
    (GPT + '[processors.gpt.prices."m"]\n', 5, "processors.gpt.prices.m", "says no price"),
    (GPT + '[processors.gpt.prices."m"]\nusd = 1\n', 6, "processors.gpt.prices.m.usd", "is not a known key"),
    (
        GPT + "[processors.gpt.budget]\nper_day_usd = -1\n",
        6,
        "processors.gpt.budget.per_day_usd",
        "0 or more",
    ),
    ("[processing.budget]\nper_day_calls = 1\n", 2, "processing.budget.per_day_calls", "is not a known key"),
    (OCR + 'level = "item"\naudio = true\n', 5, "processors.ocr.audio", 'level = "segment" only'),
    (OCR.replace("/bin/sh", "./ocr"), 3, "processors.ocr.command", "found on PATH"),
    (OCR.replace('["/bin/sh", "-c", "true"]', '"ocr"'), 3, "processors.ocr.command", "list"),
    (OCR.replace('["/bin/sh", "-c", "true"]', "[]"), 3, "processors.ocr.command", "too few items"),
    (OCR + 'pass_env = ["A-B"]\n', 4, "processors.ocr.pass_env[0]", "unusable character"),
    (HOSTED.replace('api_key_env = "UPSTREAM"\n', ""), 1, "processors.hosted", "needs an API key"),
    (
        HOSTED + 'connectors = { rushes = "conn_x" }\n',
        6,
        "processors.hosted.connectors.rushes",
        "[connectors.rushes]",
    ),
    (
        HOSTED + '[processors.hosted.prices."gemini-*"]\nusd_per_call = 1\n',
        6,
        "processors.hosted.prices",
        "say usd_per_mt",
    ),
    ('[processing]\ndefault = "gtp"\n' + GPT, 2, "processing.default", "did you mean 'gpt'?"),
    ('[processing]\ndefault = "whisper"\n', 2, "processing.default", "declare [processors.whisper]"),
]


@pytest.mark.parametrize(
    ("text", "line", "key", "said"), PROBLEMS, ids=[f"{row[2]}: {row[3]}" for row in PROBLEMS]
)
def test_what_is_wrong_is_told_with_its_line(
    problems: Problems, text: str, line: int, key: str, said: str
) -> None:
    found = problems(text, {**KEYS, "A": "a", "SPACED": "a b"})

    assert [(problem.line, problem.key) for problem in found] == [(line, key)]
    assert said in str(found[0])


def test_a_model_that_nobody_answers_to_is_told_with_what_there_is(problems: Problems, good: str) -> None:
    [problem] = problems(good + 'prompt = { processing_model = "gtp" }\n' + GPT + 'models = ["gpt-*"]\n')

    assert (problem.key, problem.allowed) == (
        "automations.main.prompt.processing_model",
        "technical, gpt, gpt-*",
    )
    assert problem.hint == "did you mean 'gpt'?"


def test_what_was_asked_for_and_the_processor_does_not_do_is_a_warning(read: Read, good: str) -> None:
    asked = "[automations.main.prompt]\nenable_transcription = false\nenable_image_embedding = true\n"
    [warning] = read(good + asked).warnings

    assert warning.key == "automations.main.prompt.enable_image_embedding"
    assert warning.what == "the processor 'technical' makes no image embeddings"
    assert read(good + asked + 'processing_model = "hosted"\n' + HOSTED, KEYS).warnings == ()
    assert read(good).warnings == (), "nobody asked"


def test_the_built_in_prompt_is_that_of_the_built_in_processor_whatever_the_default(read: Read) -> None:
    names = read(GPT + '[processing]\ndefault = "gpt"\n').processor_names

    assert names.choose(None, "prompt_technical").name == "technical"
    assert names.choose(None, "prompt_scenes").name == "gpt"


def test_a_processor_that_is_itself_wrong_may_be_named(problems: Problems) -> None:
    found = problems('[processing]\ndefault = "gpt"\n' + GPT + "max_in_flight = 0\n")

    assert [problem.key for problem in found] == ["processors.gpt.max_in_flight"]


WARNINGS = [
    (GPT.replace("127.0.0.1", "192.0.2.1"), "processors.gpt.base_url", "is not encrypted"),
    (OCR.replace("/bin/sh", "/gone/ocr"), "processors.ocr.command", "'/gone/ocr' is not there"),
    (
        GPT + "[processors.gpt.budget]\nper_day_usd = 1\n",
        "processors.gpt.model",
        "what the model 'qwen3-vl:8b' costs",
    ),
    (
        HOSTED + "[processors.hosted.budget]\nper_day_usd = 1\n",
        "processors.hosted",
        "what a unit of the upstream costs",
    ),
    (
        GPT + "[processing.budget]\nper_day_usd = 1\n",
        "processors.gpt.model",
        "so no budget in dollars can be held",
    ),
]


@pytest.mark.parametrize(("text", "key", "said"), WARNINGS, ids=[f"{row[1]}: {row[2]}" for row in WARNINGS])
def test_what_is_doubtful_is_a_warning(read: Read, text: str, key: str, said: str) -> None:
    [warning] = read(text, KEYS).warnings

    assert warning.key == key
    assert said in str(warning)
