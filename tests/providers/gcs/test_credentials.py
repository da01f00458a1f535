"""Which service accounts are taken, and that nothing of the others is repeated."""

from __future__ import annotations

import json
import traceback

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.providers.gcs.gcs_places import service_account
from vvwatch.errors import InvalidInput
from vvwatch.providers.gcs.credentials import validate_credentials

PLANTED = "planted-secret"


def refusal(text: str, *, any_token_uri: bool = False) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        validate_credentials(text, any_token_uri=any_token_uri)
    assert caught.value.hint
    return caught.value


def pem_of_another_kind() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def test_a_key_file_is_taken_and_what_could_lead_elsewhere_is_not() -> None:
    text = service_account(service_account_impersonation_url="http://169.254.169.254/", quota_project_id="x")
    content = json.loads(text)
    assert json.loads(validate_credentials(text)) == {
        key: content[key]
        for key in ("type", "project_id", "private_key_id", "private_key", "client_email", "token_uri")
    }


@pytest.mark.parametrize(
    "kind", ["external_account", "authorized_user", "impersonated_service_account", "gce_metadata", None]
)
def test_only_a_service_account_is_taken(kind: str | None) -> None:
    assert "service_account" in refusal(service_account(type=kind), any_token_uri=True).message


@pytest.mark.parametrize("key", ["project_id", "private_key_id", "private_key", "client_email", "token_uri"])
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_missing_is_named(key: str, value: str | None) -> None:
    assert key in refusal(service_account(**{key: value})).message


def test_all_that_is_missing_is_named_at_once() -> None:
    message = refusal('{"type": "service_account", "private_key": 7, "project_id": "p"}').message
    assert message == "the credentials lack private_key_id, private_key, client_email, token_uri"


@pytest.mark.parametrize(
    "token_uri",
    [
        "http://oauth2.googleapis.com/token",
        "https://oauth2.googleapis.com/token?x",
        "https://oauth2.googleapis.com.evil.example/token",
        "http://169.254.169.254/token",
    ],
)
def test_a_token_endpoint_that_is_not_googles_is_refused_unless_allowed(token_uri: str) -> None:
    assert "token_uri" in refusal(service_account(token_uri=token_uri)).message
    assert token_uri in validate_credentials(service_account(token_uri=token_uri), any_token_uri=True)


@pytest.mark.parametrize("token_uri", ["https://accounts.google.com/o/oauth2/token"])
def test_googles_older_token_endpoint_is_taken(token_uri: str) -> None:
    assert token_uri in validate_credentials(service_account(token_uri=token_uri))


@pytest.mark.parametrize(
    "text",
    [
        "",
        PLANTED,
        f'["{PLANTED}"]',
        "[" * 60_000,
        f'{{"type": "{PLANTED}"}}',
        service_account(private_key=PLANTED),
        service_account(private_key=f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n-----END PRIVATE KEY-----\n"),
        service_account(private_key="\ud800"),
        service_account(private_key=pem_of_another_kind()),
        service_account(private_key=json.loads(service_account())["private_key"] * 3),
        service_account(client_email=PLANTED * 10_000),
        service_account(token_uri=PLANTED),
    ],
    ids=lambda text: text[:8],
)
def test_what_cannot_be_used_is_refused_without_a_word_of_it(text: str) -> None:
    error = refusal(text)
    said = "".join(traceback.format_exception(error)) + error.hint + repr(error)
    assert PLANTED not in said
    assert "BEGIN" not in said
    assert error.__context__ is None
