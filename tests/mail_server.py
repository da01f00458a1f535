"""A mail server on loopback that keeps what it is sent: SMTP, with STARTTLS or TLS and a login if wanted."""

from __future__ import annotations

import base64
import socket
import socketserver
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Self

from tests.loopback import LoopbackServer


@dataclass
class MailReceiver(LoopbackServer):
    """`password`: who logs in needs it. `trust`: its side of TLS, from the start with `wrapped`. `answer`: of DATA.

    `refused` is the mailbox that it does not know.
    """

    password: str = ""
    trust: ssl.SSLContext | None = None
    wrapped: bool = False
    answer: str = "250 kept"
    refused: str = ""
    mails: list[EmailMessage] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        receiver = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    Conversation(receiver, self.request).run()

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.serve(server)
        return self


class Conversation:
    """One client's commands, one after the other."""

    def __init__(self, receiver: MailReceiver, connection: socket.socket) -> None:
        self.receiver = receiver
        self.connection = connection
        self.is_encrypted = False

    def run(self) -> None:
        try:
            if self.receiver.wrapped:
                self.encrypt()
            self.say("220 ready")
            while command := self.read_line().decode().strip():
                word = command.split(" ")[0].upper()
                self.receiver.commands.append(word)
                self.answer(word, command)
                if word == "QUIT":
                    return
        finally:
            self.connection.close()

    def encrypt(self) -> None:
        assert self.receiver.trust is not None
        self.connection = self.receiver.trust.wrap_socket(self.connection, server_side=True)
        self.is_encrypted = True

    def say(self, *lines: str) -> None:
        self.connection.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def read_line(self) -> bytes:
        """One octet at a time: what follows a line may be a handshake."""
        line = b""
        while not line.endswith(b"\r\n") and (octet := self.connection.recv(1)):
            line += octet
        return line

    def answer(self, word: str, command: str) -> None:
        if word == "EHLO":
            offers = ["250-STARTTLS"] if self.receiver.trust and not self.is_encrypted else []
            offers += ["250-AUTH PLAIN"] if self.receiver.password else []
            self.say("250-loopback", *offers, "250 8BITMIME")
        elif word == "STARTTLS":
            self.say("220 go")
            self.encrypt()
        elif word == "AUTH":
            given = base64.b64decode(command.split(" ")[2]).split(b"\0")[-1].decode()
            self.say("235 welcome" if given == self.receiver.password else "535 who are you")
        elif word == "DATA":
            self.take_mail()
        elif word == "RCPT" and self.receiver.refused and self.receiver.refused in command:
            self.say("550 unknown")
        else:
            self.say("221 bye" if word == "QUIT" else "250 well")

    def take_mail(self) -> None:
        self.say("354 go on")
        text = b""
        while (line := self.read_line()) not in (b".\r\n", b""):
            text += line
        if self.receiver.answer.startswith("2"):
            self.receiver.mails.append(message_from_bytes(text, policy=default))
        self.say(self.receiver.answer)
