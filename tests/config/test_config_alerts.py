"""Receivers of alerts: each type has its own keys, and secrets are not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.conftest import Problems, Read


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_programs_alerts_may_be_signed(read: Read, tmp_path: Path) -> None:
    url = private(tmp_path / "url", "https://example.org/hook\n")
    secret = private(tmp_path / "secret", "whsec_planted-secret-for-tests\n")
    config = read(f'[alerts.desk]\ntype = "webhook"\nurl_file = "{url}"\nsecret_file = "{secret}"\n')
    assert config.alert_signing_secrets["desk"].reveal() == "whsec_planted-secret-for-tests"
    assert "planted" not in repr(config)


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        (
            'type = "slack"\nurl_file = "u"\nsecret_file = "s"',
            "secret_file",
            "has no meaning for type 'slack'",
        ),
        ('type = "email"\nsecret_env = "S"', "secret_env", "has no meaning for type 'email'"),
        (
            'type = "webhook"\nurl_file = "u"\nsecret_file = "s"\nsecret_env = "S"',
            "secret_env",
            "second secret",
        ),
        ('type = "webhook"\nurl_file = "u"\nhost = "h"', "host", "has no meaning for type 'webhook'"),
        ('type = "teams"', "", "needs one URL"),
        ('type = "slack"\nurl_file = "u"\nurl_env = "U"', "", "needs one URL"),
        ('type = "email"\nhost = "h"\nsender = "x"\nto = ["a@b.c"]', "sender", "'x' is no mail address"),
        ('type = "email"\nhost = "h h"\nsender = "a@b.c"\nto = ["a@b.c"]', "host", "is no host name"),
        (
            'type = "email"\nhost = "h"\nsender = "a@b.c"\nto = ["a@b.c"]\nusername = "u"',
            "",
            "needs username with",
        ),
        ('type = "pager"', "type", "'pager' is not one of them"),
    ],
)
def test_what_a_receiver_cannot_have_is_a_problem_with_its_key(
    problems: Problems, text: str, key: str, what: str
) -> None:
    found = problems(f"[alerts.desk]\n{text}\n")
    place = f"alerts.desk.{key}".rstrip(".")
    assert any(each.key == place and what in each.what for each in found), found
