from __future__ import annotations

import base64
from pathlib import Path

import pytest

from vvwatch.config import Config, load
from vvwatch.core.processors import SPEECH_ENDPOINT
from vvwatch.daemon.limiting import compute_fingerprints
from vvwatch.store.db.encryption import SecretBox

BOX = SecretBox(base64.urlsafe_b64encode(bytes(range(32))))
GPT = """
[processors.gpt]
type = "openai"
base_url = "http://127.0.0.1:1/v1"
model = "qwen"
api_key_file = "gpt.key"
"""


def configured(folder: Path, text: str = GPT, key: str = "sk-one") -> Config:
    (folder / "gpt.key").write_text(key)
    (folder / "gpt.key").chmod(0o600)
    (folder / "vvwatch.toml").write_text(f'state_dir = "{folder}/state"\n{text}')
    return load(folder / "vvwatch.toml", {})


def fingerprint(folder: Path, text: str = GPT, key: str = "sk-one", box: SecretBox = BOX) -> str:
    return compute_fingerprints(configured(folder, text, key), box)["gpt"]


def test_the_same_configuration_has_the_same_fingerprint(tmp_path: Path) -> None:
    assert fingerprint(tmp_path) == fingerprint(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        {"key": "sk-two"},
        {"text": GPT.replace("qwen", "llava")},
        {"text": GPT + "[processors.gpt.budget]\nper_day_calls = 5\n"},
        {"text": GPT + "[processing.budget]\nper_day_usd = 5\n"},
        {"box": SecretBox(base64.urlsafe_b64encode(bytes(32)))},
    ],
    ids=["key", "model", "its budget", "the budget of all", "installation"],
)
def test_a_change_of_anything_that_may_have_caused_a_pause_changes_the_fingerprint(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    assert fingerprint(tmp_path, **changed) != fingerprint(tmp_path)  # type: ignore[arg-type]


def test_the_endpoint_that_transcribes_has_a_fingerprint_of_its_key(tmp_path: Path) -> None:
    text = GPT.replace("[processors.gpt]", "[transcription.endpoint]").replace('type = "openai"\n', "")
    found = [
        compute_fingerprints(configured(tmp_path, text, key), BOX) for key in ("sk-one", "sk-one", "sk-two")
    ]
    assert list(found[0]) == [SPEECH_ENDPOINT]
    assert found[0] == found[1] != found[2]
    assert SPEECH_ENDPOINT not in compute_fingerprints(configured(tmp_path), BOX)


def test_a_fingerprint_tells_nothing_of_the_key(tmp_path: Path) -> None:
    assert "sk-one" not in fingerprint(tmp_path)
    assert len(fingerprint(tmp_path)) == 64
