from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.tokens import LONGEST, mint_token, verify_token
from vvwatch.errors import InvalidInput, TokenRefused

SECRET = b"s" * 32
CLAIMS = {"use": "export", "id": "exp_1"}
SHAPE = re.compile(r"v1\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

secrets = st.binary(min_size=16, max_size=64)
claims = st.dictionaries(st.text(max_size=20).filter(lambda name: name != "expires_at"), st.text(max_size=40))
moments = st.floats(min_value=0, max_value=1e11)


@given(secrets, claims, moments)
def test_a_token_says_until_its_last_moment_what_it_was_made_for(
    secret: bytes, claims: dict[str, str], expires_at: float
) -> None:
    token = mint_token(secret, claims, expires_at)
    assert SHAPE.fullmatch(token)
    assert 32 <= len(token) <= LONGEST
    assert verify_token([secret], token, expires_at - 1e-3 if expires_at < 1e9 else expires_at - 1) == claims
    with pytest.raises(TokenRefused, match="expired"):
        verify_token([secret], token, expires_at)


@given(st.data())
def test_a_token_with_any_other_character_is_refused(data: st.DataObject) -> None:
    token = mint_token(SECRET, CLAIMS, 10.0)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters().filter(lambda character: character != token[place]))
    with pytest.raises(TokenRefused, match="not one of this server"):
        verify_token([SECRET], token[:place] + other + token[place + 1 :], 9.0)


@given(st.data())
def test_a_token_that_was_cut_or_grew_is_refused(data: st.DataObject) -> None:
    token = mint_token(SECRET, CLAIMS, 10.0)
    place = data.draw(st.integers(0, len(token) - 1))
    more = data.draw(st.text(min_size=1, max_size=5))
    for spoilt in (token[:place], token + more, token[:place] + more + token[place:]):
        with pytest.raises(TokenRefused):
            verify_token([SECRET], spoilt, 9.0)


@given(secrets.filter(lambda secret: secret != SECRET))
def test_another_secret_is_refused(secret: bytes) -> None:
    with pytest.raises(TokenRefused):
        verify_token([secret], mint_token(SECRET, CLAIMS, 10.0), 9.0)


@pytest.mark.parametrize("token", ["", "v1", "v1..", "...", "v1.e30.", "v2.e30.e30", "x" * 100_000])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(TokenRefused):
        verify_token([SECRET], token, 0.0)


@pytest.mark.parametrize("wrong", [{"a": "x" * LONGEST}, {"a": float("nan")}])
def test_what_no_token_can_say_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        mint_token(SECRET, wrong, 1.0)


def test_any_of_several_secrets_may_have_signed() -> None:
    token = mint_token(SECRET, CLAIMS, 10.0)
    assert verify_token([b"other", SECRET], token, 9.0) == CLAIMS
    with pytest.raises(TokenRefused):
        verify_token([], token, 9.0)
