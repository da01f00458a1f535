"""Mail by SMTP: encrypted unless it is not wanted, with a login if there is one, and causes in words."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mail_server import MailReceiver
from tests.tls import Tls, certificate
from vvwatch.ports import Reply
from vvwatch.senders.mail import MailServer, reach_mail, send_mail
from vvwatch.workflow.upkeep.alerting import describe_refusal

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2hunter2"


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return certificate(tmp_path)


def trust_of(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    return context


async def send(port: int, security: str, **settings: object) -> Reply:
    server = MailServer("127.0.0.1", port, security, timeout_seconds=5, **settings)  # type: ignore[arg-type]
    text = ("vvwatch: 1 new problem on söderland", "- clip ☂.mp4: is damaged\n")
    return await send_mail(server, "vvwatch@example.org", ["a@example.org", "b@example.org"], "alr_1", text)


@pytest.mark.parametrize(("security", "wrapped"), [("starttls", False), ("tls", True)])
async def test_an_encrypted_mail_with_a_login(tls: Tls, security: str, wrapped: bool) -> None:
    with MailReceiver(PASSWORD, trust_of(tls), wrapped) as receiver:
        reply = await send(receiver.port, security, username="me", password=PASSWORD, ca_file=tls.authority)
    assert (reply.status_code, reply.error) == (250, None)
    [mail] = receiver.mails
    assert mail["Subject"] == "vvwatch: 1 new problem on söderland"
    assert mail["Message-ID"] == "<alr_1@vvwatch>"
    assert mail["To"] == "a@example.org, b@example.org"
    assert "☂" in mail.get_content()
    assert "AUTH" in receiver.commands


async def test_a_server_is_tried_without_a_mail(tls: Tls) -> None:
    known = {"username": "me", "password": PASSWORD, "ca_file": tls.authority, "timeout_seconds": 5.0}
    with MailReceiver(PASSWORD, trust_of(tls)) as receiver:
        server = MailServer("127.0.0.1", receiver.port, "starttls", **known)  # type: ignore[arg-type]
        assert await reach_mail(server) is None
        assert await reach_mail(replace(server, password="wrong")) == (
            "the mail server refused the user name or the password (535)"
        )
    assert receiver.mails == []
    assert "nothing listens there" in str(await reach_mail(server))


async def test_a_refused_login_is_said_without_the_password(tls: Tls) -> None:
    with MailReceiver("another", trust_of(tls)) as receiver:
        reply = await send(receiver.port, "starttls", username="me", password=PASSWORD, ca_file=tls.authority)
    assert reply.error == "the mail server refused the user name or the password (535)"
    assert PASSWORD not in repr(MailServer("h", 25, "none", "me", PASSWORD))


async def test_no_mail_is_sent_in_clear_text_where_it_is_to_be_encrypted() -> None:
    with MailReceiver() as receiver:
        reply = await send(receiver.port, "starttls")
    assert reply.error is not None
    assert "STARTTLS" in reply.error
    assert receiver.mails == []


async def test_a_certificate_of_a_stranger_is_not_accepted(tls: Tls) -> None:
    with MailReceiver("", trust_of(tls)) as receiver:
        reply = await send(receiver.port, "starttls")
    assert reply.error is not None
    assert reply.error.startswith("the TLS certificate is not accepted")


@pytest.mark.parametrize(("answer", "said"), [("451 later", "answered 451"), ("554 no", "answered 554")])
async def test_a_refused_mail_has_its_code(answer: str, said: str) -> None:
    with MailReceiver(answer=answer) as receiver:
        reply = await send(receiver.port, "none")
    assert reply.status_code is None
    assert said in (reply.error or "")


async def test_a_server_that_is_away_is_an_error() -> None:
    with MailReceiver() as receiver:
        port = receiver.port
    assert (await send(port, "none")).error == "the connection was refused: nothing listens there"


async def test_a_mail_that_some_recipients_got_is_not_sent_again() -> None:
    with MailReceiver(refused="<a@example.org>") as receiver:
        reply = await send(receiver.port, "none")
    assert reply.status_code == 250
    assert reply.error == "the mail server refused 1 of the recipients"
    assert describe_refusal(reply) is None
    assert len(receiver.mails) == 1
