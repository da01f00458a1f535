"""Why a receiver could not be reached is said in words that tell what to mend."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from vvwatch.senders.http import describe_cause
from vvwatch.workflow.upkeep.findings import webhook_advice


def certificate(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = message
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("root", "cause", "fix"),
    [
        (OSError(errno.ECONNREFUSED, ""), "the connection was refused", "start the receiver"),
        (OSError(errno.EHOSTUNREACH, ""), "the host cannot be reached", "check the network"),
        (
            certificate("certificate has expired"),
            "the TLS certificate is not accepted: certificate has expired",
            "renew",
        ),
        (
            tls("WRONG_VERSION_NUMBER"),
            "TLS failed: what listens there speaks plain http",
            "make the receiver speak https",
        ),
        (tls("NO_PROTOCOLS_AVAILABLE"), "TLS failed: no protocols available", "TLS 1.2"),
        (socket.gaierror(-2, "unknown"), "the host name does not resolve", "correct the host"),
    ],
)
def test_the_root_of_a_failure_is_told_with_what_mends_it(root: Exception, cause: str, fix: str) -> None:
    failure = ConnectionError("all attempts failed")
    failure.__cause__ = ExceptionGroup("several", [root])
    assert describe_cause(failure).startswith(cause)
    assert fix in webhook_advice(describe_cause(failure))


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        ("no answer within 10 s", "answer with a 2xx status first"),
        ("the receiver answered 404", "correct the path"),
        ("the receiver answered 503", "check the receiver's log"),
        ("the receiver answered 301", "redirects are not followed"),
        ("the host 'hook.example' does not resolve", "fix DNS"),
        ("the host 'hook.example' resolves to a private address", "[webhooks] allow_networks"),
        (
            "the host 'hook.example' resolves to a link-local, reserved or cloud metadata address",
            "no option allows",
        ),
        ("something else", "make its receiver answer with a 2xx status"),
    ],
)
def test_what_a_receiver_answered_is_told_with_what_mends_it(error: str, fix: str) -> None:
    assert fix in webhook_advice(error)


def test_what_is_not_known_is_not_guessed() -> None:
    assert describe_cause(ValueError("secret")) == ""
