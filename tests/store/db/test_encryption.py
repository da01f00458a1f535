from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vvwatch.errors import InvalidInput, StoreError
from vvwatch.store.admin.secret_keys import KEY_FILE, find_keys
from vvwatch.store.db.encryption import SecretBox

KEY = b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
OTHER = b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="


def given(state_dir: Path, environ: dict[str, str]) -> bytes:
    """The one key, of the right form, of an installation."""
    source = find_keys(state_dir, environ)
    source.box()
    return source.keep().text.strip()


def test_what_is_sealed_opens_again() -> None:
    box = SecretBox(KEY)
    for text in ("", "whsec_plain", "ü🎬\0"):
        assert box.open(box.seal(text)) == text
    assert box.seal("same") != box.seal("same")


def test_another_key_or_altered_bytes_open_nothing() -> None:
    sealed = SecretBox(KEY).seal("hunter2")
    altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for box, content in ((SecretBox(OTHER), sealed), (SecretBox(KEY), altered), (SecretBox(KEY), b"")):
        with pytest.raises(StoreError) as caught:
            box.open(content)
        assert "hunter2" not in caught.value.message
        assert "VVWATCH_SECRET_KEY" in caught.value.hint


def test_each_purpose_has_a_secret_of_its_own_on_every_node() -> None:
    assert SecretBox(KEY).secret("tokens") == SecretBox(KEY).secret("tokens")
    made = {box.secret(purpose) for box in (SecretBox(KEY), SecretBox(OTHER)) for purpose in ("a", "b")}
    assert {len(secret) for secret in made} == {32}
    assert len(made) == 4


def test_neither_key_nor_text_shows() -> None:
    box = SecretBox(KEY)
    assert repr(box) == "SecretBox()"
    assert "MDEy" not in repr(box) + str(box)


@pytest.mark.parametrize("key", [b"", b"short", KEY[:-1], b"\xff" * 44])
def test_a_key_of_the_wrong_form_is_refused_and_not_shown(key: bytes) -> None:
    with pytest.raises(InvalidInput, match="malformed") as caught:
        SecretBox(key)
    assert "32 random bytes" in caught.value.hint


def test_the_first_start_makes_a_key_and_later_ones_keep_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    key = given(state, {})
    assert given(state, {}) == key
    assert stat.S_IMODE((state / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in state.iterdir()] == [KEY_FILE]


def test_starts_at_one_moment_agree_on_the_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: given(tmp_path, {}), range(16)))
    assert len(made) == 1


def test_a_new_key_is_only_in_memory_until_it_is_kept(tmp_path: Path) -> None:
    source = find_keys(tmp_path, {})
    box, other = source.box(), find_keys(tmp_path, {}).box()
    assert list(tmp_path.iterdir()) == []
    other.keep()
    box.keep()
    assert other.open(box.seal("the first one that is kept counts")).startswith("the first")


def test_a_key_that_cannot_be_written_is_reported_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"cannot write the key file .*file/secret.key"):
        find_keys(tmp_path / "file", {}).keep()


def test_a_credential_comes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(KEY)
    environ = {"VVWATCH_SECRET_KEY": OTHER.decode() + "\n"}
    assert given(tmp_path, environ) == OTHER
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    environ["CREDENTIALS_DIRECTORY"] = str(credentials)
    assert given(tmp_path, environ) == OTHER
    (credentials / "vvwatch-key").write_bytes(KEY + b"\n")
    assert given(tmp_path, environ) == KEY


def test_the_environment_may_name_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(OTHER + b"\n")
    environ = {"VVWATCH_SECRET_KEY_FILE": str(tmp_path / "key")}
    assert given(tmp_path, environ) == OTHER
    assert not (tmp_path / KEY_FILE).exists()


def test_two_ways_at_once_are_refused(tmp_path: Path) -> None:
    environ = {"VVWATCH_SECRET_KEY": KEY.decode(), "VVWATCH_SECRET_KEY_FILE": "/key"}
    with pytest.raises(InvalidInput, match="both"):
        given(tmp_path, environ)


def test_a_key_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(InvalidInput, match="missing"):
        given(tmp_path, {"VVWATCH_SECRET_KEY_FILE": str(missing)})
    (tmp_path / KEY_FILE).write_bytes(b"not a key\n")
    with pytest.raises(InvalidInput, match="malformed"):
        given(tmp_path, {})
