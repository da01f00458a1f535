from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.receiver import is_signed
from vvwatch.core.deliveries import sign_body


def test_a_signature_is_the_hmac_of_the_body() -> None:
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"  # RFC 4231, case 2
    assert sign_body("Jefe", b"what do ya want for nothing?") == f"sha256={expected}"


@given(st.text(), st.binary())
def test_what_was_signed_verifies_and_nothing_else(secret: str, body: bytes) -> None:
    signature = sign_body(f"whsec_{secret}", body)
    assert is_signed(f"whsec_{secret}", body, signature)
    assert not is_signed(f"whsec_{secret}", body + b" ", signature)
    assert not is_signed(f"whsec_{secret}x", body, signature)
    assert not is_signed(f"whsec_{secret}", body, signature.upper())
