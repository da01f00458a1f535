"""Who is asked in `vvwatch dev`: what the options come to, and how they are refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from vvwatch.cli import dev as dev_command
from vvwatch.cli.dev_config import DevSession, build_config
from vvwatch.cli.dev_plain import read_answers
from vvwatch.config import Config
from vvwatch.config.processors import CommandProcessor, OpenAIProcessor


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    return tmp_path


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[DevSession]:
    """The trials that were planned; none of them begins."""
    begun: list[DevSession] = []

    def watch(trial: DevSession, *_: object, **__: object) -> int:
        begun.append(trial)
        return 0

    monkeypatch.setattr(dev_command, "_run_daemon", watch)
    return begun


def configuration(run: Run, trials: list[DevSession], *flags: str) -> Config:
    done = run("dev", "clips", *flags)
    assert done.exit_code == 0, done.stderr
    return build_config(trials[-1], os.environ)


def program(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_model_is_looked_for_at_ollama_and_asked_to_describe(
    run: Run, folder: Path, trials: list[DevSession]
) -> None:
    config = configuration(run, trials, "--model", "qwen3-vl:4b-instruct")
    processor = config.processors["dev"]
    assert isinstance(processor, OpenAIProcessor)
    assert (processor.base_url, processor.model) == ("http://127.0.0.1:11434/v1", "qwen3-vl:4b-instruct")
    prompt = config.prompts["dev"]
    assert prompt.json_schema["required"] == ["description"]
    preset = config.automations["dev"].prompt
    assert (preset.prompt_id, preset.processing_model) == ("dev", "dev")
    assert config.warnings == ()


def test_everything_about_a_model_can_be_said(run: Run, folder: Path, trials: list[DevSession]) -> None:
    (folder / "schema.json").write_text(json.dumps({"type": "object", "properties": {"boats": {}}}))
    (folder / "key").write_text("a-key-of-a-test\n")
    (folder / "key").chmod(0o600)
    flags = ("--model", "m", "--model-url", "https://models.example.org/v1", "--model-key-file", "key")
    config = configuration(
        run, trials, *flags, "--prompt", "Count the boats in the picture.", "--schema", "schema.json"
    )
    processor = config.processors["dev"]
    assert isinstance(processor, OpenAIProcessor)
    assert processor.base_url == "https://models.example.org/v1"
    assert config.processor_secrets["dev"].reveal() == "a-key-of-a-test"
    assert config.prompts["dev"].prompt_text == "Count the boats in the picture."
    assert config.prompts["dev"].json_schema["properties"] == {"boats": {}}


def test_a_program_is_found_from_here_and_on_the_path(
    run: Run, folder: Path, trials: list[DevSession]
) -> None:
    mine = program(folder / "my program")
    config = configuration(run, trials, "--program", "'./my program' --lang eng")
    processor = config.processors["dev"]
    assert isinstance(processor, CommandProcessor)
    assert processor.command == (str(mine), "--lang", "eng")
    again = configuration(run, trials, "--program", "sh").processors["dev"]
    assert isinstance(again, CommandProcessor)
    assert Path(again.command[0]).is_absolute()


def test_without_a_model_files_are_measured(run: Run, folder: Path, trials: list[DevSession]) -> None:
    config = configuration(run, trials)
    assert (dict(config.processors), config.automations["dev"].prompt.prompt_id) == ({}, "technical")


@pytest.mark.parametrize(
    ("flags", "message", "hint"),
    [
        (("--prompt", "Count the boats."), "nobody is there to answer the prompt", "--model NAME"),
        (("--schema", "schema.json"), "nobody is there to answer the prompt", "--program COMMAND"),
        (("--model-url", "http://127.0.0.1:1/v1"), "which model?", "--model-url http://127.0.0.1:1/v1"),
        (("--model", "m", "--program", "sh"), "--model and --program", "leave one of them out"),
        (("--program", "./nothing-here"), "there is no program './nothing-here'", "found on PATH"),
        (("--program", "./plain.txt"), "'./plain.txt' may not be run", "chmod +x ./plain.txt"),
        (("--program", "'sh"), "--program: No closing quotation", "close the quotes"),
        (("--program", ""), "there is no program ''", "found on PATH"),
        (("--model", "m", "--schema", "nothing.json"), "cannot read the schema", ""),
        (("--model", "m", "--schema", "plain.txt"), "the schema is no JSON", ""),
        (("--model", "m", "--schema", "list.json"), "the schema is no JSON object", ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_meant_is_refused(
    run: Run, folder: Path, trials: list[DevSession], flags: tuple[str, ...], message: str, hint: str
) -> None:
    (folder / "plain.txt").write_text("boats")
    (folder / "list.json").write_text("[]")
    done = run("dev", "clips", *flags)
    assert done.exit_code == 2
    assert message in done.stderr
    assert hint in done.stderr
    assert trials == []


def export(path: Path, *texts: str, error: str | None = None) -> Path:
    segments = [
        {
            "start_time": 5.0 * place,
            "end_time": 5.0 * place + 5,
            "metadata_text": text,
            "field_extraction_error": error,
        }
        for place, text in enumerate(texts)
    ]
    whole = {"metadata_text": "a harbour"}
    media = [{"video": {"key": "clip.mp4"}, "segments": segments, "video_result": whole}]
    path.write_text(json.dumps({"media": media}))
    return path


def test_the_answers_are_said_in_order(tmp_path: Path) -> None:
    path = export(tmp_path / "a.json", "description: a boat\npeople: 2", "description: \x1b[2J")
    assert list(read_answers([path])) == [
        "  clip.mp4 0 to 5 s: description: a boat; people: 2",
        "  clip.mp4 5 to 10 s: description: \\x1b[2J",
        "  clip.mp4 as a whole: a harbour",
    ]


def test_a_segment_without_an_answer_says_why(tmp_path: Path) -> None:
    said = list(read_answers([export(tmp_path / "a.json", "", error="no JSON")]))
    assert said[0] == "  clip.mp4 0 to 5 s: failed: no JSON"


def test_many_and_long_answers_are_shortened_and_lost_exports_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    path = export(tmp_path / "a.json", *["a boat " * 100] * 100)
    said = list(read_answers([tmp_path / "gone.json", tmp_path / "broken.json", path]))
    assert len(said) == 21
    assert max(map(len, said)) < 330
    assert said[-1].endswith("the exports have all of it")
