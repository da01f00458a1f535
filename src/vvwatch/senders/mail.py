"""Sends mail by SMTP, in a thread. Errors name the step that failed, never the password."""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path

from anyio import to_thread

from vvwatch.ports import Reply
from vvwatch.senders.http import describe_cause

ACCEPTED = 250


@dataclass(frozen=True, slots=True)
class MailServer:
    """A server that takes mail: `security` is starttls, tls or none. Without a user name nobody logs in."""

    host: str
    port: int
    security: str
    username: str = ""
    password: str = ""
    ca_file: Path | None = None
    timeout_seconds: float = 10.0

    def __repr__(self) -> str:
        return f"MailServer({self.host}:{self.port})"


async def send_mail(
    server: MailServer, sender: str, recipients: Sequence[str], message_id: str, text: tuple[str, str]
) -> Reply:
    """Send one mail with the subject and text of `text`. Nothing is raised: the reply has the error of a failure.

    `message_id` stays the same when a mail is sent again. One that some recipients got counts as accepted, and its
    reply has the error too: sent again, it would reach them twice.
    """
    started = time.monotonic()
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, ", ".join(recipients)
    mail["Subject"], body = text
    mail["Date"], mail["Message-ID"] = formatdate(), f"<{message_id}@vvwatch>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(body)
    status, error = await to_thread.run_sync(_send, server, mail)
    return Reply(status, "", error, time.monotonic() - started)


async def reach_mail(server: MailServer) -> str | None:
    """Connect and log in as for a mail, and send none; return why that failed, None if it did not."""
    return await to_thread.run_sync(_try_login, server)


def _try_login(server: MailServer) -> str | None:
    try:
        with _connect(server) as connection:
            _log_in(server, connection)
            connection.noop()
    except (smtplib.SMTPException, OSError) as error:
        return _describe(error)
    return None


def _log_in(server: MailServer, connection: smtplib.SMTP) -> None:
    if server.username:
        connection.login(server.username, server.password)


def _send(server: MailServer, mail: EmailMessage) -> tuple[int | None, str | None]:
    """Return `ACCEPTED`, or None, and what went wrong."""
    try:
        refused = _deliver(server, mail)
    except (smtplib.SMTPException, OSError) as error:
        return None, _describe(error)
    return ACCEPTED, f"the mail server refused {len(refused)} of the recipients" if refused else None


def _deliver(server: MailServer, mail: EmailMessage) -> Mapping[str, object]:
    """Hand the mail over and return the recipients that the server refused, if it took others."""
    with _connect(server) as connection:
        _log_in(server, connection)
        return connection.send_message(mail)


def _describe(error: smtplib.SMTPException | OSError) -> str:
    match error:
        case smtplib.SMTPAuthenticationError():
            return f"the mail server refused the user name or the password ({error.smtp_code})"
        case smtplib.SMTPNotSupportedError():
            return "the mail server does not offer STARTTLS or a login: check security and port"
        case smtplib.SMTPRecipientsRefused():
            return "the mail server refused all recipients"
        case smtplib.SMTPResponseException():
            return f"the mail server answered {error.smtp_code}"
        case _:
            return describe_cause(error) or f"{type(error).__name__}: the mail server cannot be used"


def _connect(server: MailServer) -> smtplib.SMTP:
    trust = ssl.create_default_context()
    if server.ca_file is not None:
        trust.load_verify_locations(server.ca_file)
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=server.timeout_seconds, context=trust)
    connection = smtplib.SMTP(server.host, server.port, timeout=server.timeout_seconds)
    if server.security == "starttls":
        try:
            connection.starttls(context=trust)
        except BaseException:
            connection.close()
            raise
    return connection
