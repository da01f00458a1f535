from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vvwatch.config import Config, Problem, Secret

Read = Callable[..., Config]
Problems = Callable[..., list[Problem]]

SECRET = "whsec_0123456789abcdef"
HOOK = '[webhooks.a]\nurl = "https://example.org/x"\nevents = ["export.ready"]\n'


def test_a_secret_prints_as_dots() -> None:
    secret = Secret(SECRET)

    assert f"{secret} {secret!r} {[secret]}" == "••• ••• [•••]"
    assert secret.reveal() == SECRET
    assert secret == Secret(SECRET)
    assert secret != Secret("other")
    assert secret != SECRET
    assert len({secret, Secret(SECRET)}) == 1


def test_a_secret_file_is_read_without_its_newline(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\r\n")
    file.chmod(0o600)

    config = read(HOOK + 'secret_file = "secret"')

    assert config.webhook_secrets == {"a": Secret(SECRET)}
    assert config.warnings == ()
    assert SECRET not in repr(config)


def test_a_secret_that_others_can_read_is_a_warning(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    file.chmod(0o644)

    [warning] = read(HOOK + f'secret_file = "{file}"').warnings

    assert (warning.line, warning.key, warning.hint) == (4, "webhooks.a.secret_file", f"chmod o-r {file}")


def test_a_secret_may_stand_in_a_variable(read: Read) -> None:
    config = read(HOOK + 'secret_env = "HOOK"', {"HOOK": SECRET})

    assert config.webhook_secrets["a"].reveal() == SECRET


@pytest.mark.parametrize(
    ("lines", "key", "what"),
    [
        ("", "webhooks.a", "needs a secret"),
        ('secret_env = "A"\nsecret_file = "b"', "webhooks.a", "has both secret_file and secret_env"),
        ('secret_env = "GONE"', "webhooks.a.secret_env", "the variable GONE is not set"),
        ('secret_env = "$x"', "webhooks.a.secret_env", "has an unusable character"),
        ('secret_env = "SHORT"', "webhooks.a.secret_env", "holds too short a secret"),
        ('secret_file = "gone"', "webhooks.a.secret_file", "cannot be read: No such file or directory"),
        ('secret_file = "binary"', "webhooks.a.secret_file", "cannot be read: is not UTF-8 text"),
        ('secret_file = "a\\u0000b"', "webhooks.a.secret_file", "cannot be read"),
    ],
)
def test_an_unusable_secret_is_a_problem_that_does_not_show_it(
    problems: Problems, tmp_path: Path, lines: str, key: str, what: str
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    [problem] = problems(HOOK + lines, {"SHORT": "tiny"})

    assert problem.key == key
    assert problem.what.startswith(what)
    assert "tiny" not in str(problem)
