"""`vvwatch check`."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.cli.conftest import Run

WRONG = """\
listen = "nowhere"
colour = "blue"
[automations.a]
index = "missing"
connector = "missing"
"""


def test_all_problems_are_listed_with_file_line_and_key(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_text(WRONG)
    done = run("check", "--config", str(file))
    assert done.exit_code == 78
    lines = done.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines[:-1]] == [
        f"{file}:1 listen",
        f"{file}:2 colour",
        f"{file}:4 automations.a.index",
        f"{file}:5 automations.a.connector",
    ]
    assert "(allowed: " in lines[0]
    assert lines[-1] == f"{file}: 4 problems"


def test_packages_that_are_missing_are_problems_with_a_command_for_this_installation(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them at once, beside what else is wrong; nothing has to be known of where vvwatch came from."""

    def version(name: str) -> str:
        if name in ("aiobotocore", "asyncpg"):
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)
    file = tmp_path / "vvwatch.toml"
    file.write_text(
        'database_url = "postgresql://u@h/n"\n'
        '[connectors.a]\ntype = "s3"\nbucket = "bbb"\nregion = "us-east-1"\ncredentials = "ambient"\n'
        '[connectors.b]\ntype = "gcs"\nbucket = "bbb"\ncredentials = "ambient"\n'
    )
    done = run("check", "--config", str(file))
    assert done.exit_code == 78
    first, second, last = done.stdout.splitlines()
    assert first.startswith(f"{file}:2 connectors.a: needs the package aiobotocore, which is not installed")
    assert f"{sys.executable} -m pip install 'aiobotocore~=" in first
    assert second.startswith(f"{file}:1 database_url: needs the package asyncpg")
    assert last == f"{file}: 2 problems"


def test_a_regular_expression_in_place_of_a_glob_is_a_warning(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_text(
        f"""
[local]
roots = ["{tmp_path}"]
[connectors.in]
type = "local"
path = "{tmp_path}"
[indexes.main]
[automations.x]
index = "main"
connector = "in"
pattern = '.*\\.mp4$'
"""
    )
    done = run("check", "--config", str(file))
    assert done.exit_code == 0
    assert f"warning: {file}:11 automations.x.pattern: looks like a regular expression" in done.stdout


def test_a_format_of_exports_that_is_not_installed_is_a_problem(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.extras.find_missing_package", lambda _: "arro3-io")
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    file = tmp_path / "vvwatch.toml"
    file.write_text(
        f"""
[local]
roots = ["{tmp_path}"]
[connectors.in]
type = "local"
path = "{tmp_path}/in"
[connectors.out]
type = "local"
path = "{tmp_path}/out"
scopes = ["export"]
[indexes.main]
[automations.x]
index = "main"
connector = "in"
[automations.x.export]
connector = "out"
formats = ["csv", "parquet"]
"""
    )
    [problem, _] = run("check", "--config", str(file)).stdout.splitlines()
    assert "automations.x.export.formats: needs the package arro3-io" in problem
    assert "install" in problem


def test_a_model_for_searches_that_is_incomplete_is_a_problem(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").touch()
    file = tmp_path / "vvwatch.toml"
    file.write_text(f'[search]\nmodel_dir = "{tmp_path}"\n')
    [problem, _] = run("check", "--config", str(file)).stdout.splitlines()
    assert f"search.model_dir: {tmp_path} has no tokenizer.json" in problem
    (tmp_path / "tokenizer.json").touch()
    assert run("check", "--config", str(file)).exit_code == 0
    monkeypatch.setattr("vvwatch.extras.find_missing_package", lambda _: "onnxruntime")
    [problem, _] = run("check", "--config", str(file)).stdout.splitlines()
    assert "search.model_dir: needs the package onnxruntime" in problem
    assert "install" in problem


def test_what_urls_of_users_may_lead_to_is_told(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_text('[webhooks]\nallow_networks = ["10.20.0.0/16", "127.0.0.1"]\n')
    done = run("check", "--config", str(file))
    first, last = done.stdout.splitlines()
    assert first == "webhooks may lead to public addresses and to 10.20.0.0/16, 127.0.0.1/32"
    assert last.startswith(f"{file}: good")


def test_a_configuration_that_may_not_be_read_is_a_problem_and_no_wrong_usage(
    run: Run, tmp_path: Path
) -> None:
    """Exit code 78, with which the service is not started again and again."""
    closed = tmp_path / "closed"
    closed.mkdir()
    file = closed / "vvwatch.toml"
    file.mkdir()  # reading it fails for root, too
    for command in ("check", "run"):
        done = run(command, "--config", str(file))
        assert done.exit_code == 78, done.output
        assert "cannot be read: Is a directory" in done.output


def test_programs_get_every_part_of_a_problem(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_text(WRONG)
    done = run("check", "--config", str(file), "--json")
    assert done.exit_code == 78
    document = json.loads(done.stdout)
    assert (document["file"], document["valid"], len(document["problems"])) == (str(file), False, 4)
    assert document["problems"][0].keys() == {"file", "line", "key", "what", "allowed", "hint"}


def test_warnings_do_not_make_a_configuration_unusable(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "vvwatch.toml"
    file.write_text('listen = "0.0.0.0:8787"\n')
    done = run("check", "--config", str(file))
    assert done.exit_code == 0
    assert done.stdout.startswith(f"warning: {file}:1 listen: other machines can reach this address")
    assert "good (0 automations, 0 connectors, 0 webhooks)" in done.stdout
    document = json.loads(run("check", "--config", str(file), "--json").stdout)
    assert document["valid"]
    assert len(document["warnings"]) == 1


def test_without_a_file_the_environment_is_checked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("check").exit_code == 0
    monkeypatch.setenv("VVWATCH_LISTEN", "nowhere")
    done = run("check")
    assert done.exit_code == 78
    assert done.stdout.startswith("environment VVWATCH_LISTEN: ")


def test_a_file_that_is_not_there_is_a_problem(run: Run, tmp_path: Path) -> None:
    done = run("check", "--config", str(tmp_path / "gone.toml"))
    assert done.exit_code == 78
    assert "No such file" in done.stdout


HOSTED = """\
[processors.hosted]
type = "videovector"
base_url = "https://upstream.example.org/api/v2"
index_id = "idx_1"
api_key_env = "UPSTREAM"
[processing]
default = "hosted"
"""


def test_a_processor_that_cannot_be_opened_is_a_problem_at_its_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = metadata.version

    def version(name: str) -> str:
        if name == "videovector":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setenv("UPSTREAM", "sk_live_0123456789abcdef")
    file = tmp_path / "vvwatch.toml"
    file.write_text(HOSTED)
    done = run("check", "--config", str(file))
    assert done.exit_code == 78
    first, last = done.stdout.splitlines()
    assert first.startswith(f"{file}:1 processors.hosted: the processor 'hosted' needs videovector==")
    assert "pip install" in first
    assert last == f"{file}: 1 problem"


def test_a_model_that_nobody_answers_to_is_a_problem_with_what_there_is(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM", "sk_live_0123456789abcdef")
    file = tmp_path / "vvwatch.toml"
    file.write_text(HOSTED.replace('default = "hosted"', 'default = "hostd"'))
    done = run("check", "--config", str(file))
    assert done.exit_code == 78
    assert done.stdout.splitlines()[0] == (
        f"{file}:7 processing.default: no processor answers to the model 'hostd'"
        " (allowed: technical, hosted) — did you mean 'hosted'?"
    )
