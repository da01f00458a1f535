"""Alerts to people: receivers, and how often they hear of what."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from vvwatch.core.alerts import AlertPolicy
from vvwatch.core.durations import parse_duration
from vvwatch.options.fields import Duration, List, Pause, VariableName
from vvwatch.options.tables import Table

MAIL_KEYS: Final = ("host", "port", "security", "sender", "to", "username", "password_file", "password_env")
URL_KEYS: Final = ("url_file", "url_env")
SIGNING_KEYS: Final = ("secret_file", "secret_env")


class AlertReceiver(Table):
    """Who is alerted: an incoming webhook of Slack or Teams, a program (`webhook`), or mailboxes (`email`).

    `kinds` are the kinds of problems that it hears of, as in `status`; none: all. A program's alerts are signed if it
    has a secret, as webhooks are; channels check no signatures.
    """

    required = ("type",)

    type: Literal["slack", "teams", "webhook", "email", ""] = ""
    url_file: str | None = None
    url_env: VariableName | None = None
    secret_file: str | None = None
    secret_env: VariableName | None = None
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password_file: str | None = None
    password_env: VariableName | None = None
    sender: str | None = None
    to: Annotated[tuple[str, ...] | None, List, Field(min_length=1, max_length=50)] = None
    kinds: Annotated[tuple[str, ...], List, Field(max_length=50)] = ()
    enabled: bool = True

    @property
    def smtp_port(self) -> int:
        """The port of the mail server: the usual one of its security unless it is given."""
        return self.port or {"starttls": 587, "tls": 465, "none": 25}[self.security]


class Alerts(Table):
    """How alerts are grouped; each further table is a receiver."""

    model_config = ConfigDict(extra="allow")
    entries = AlertReceiver
    __pydantic_extra__: dict[str, AlertReceiver] = Field(init=False)

    after: Pause = "2m"
    every: Duration = "5m"
    repeat: Duration | None = "1d"
    recovered: bool = True

    @property
    def receivers(self) -> dict[str, AlertReceiver]:
        """The enabled receivers by name."""
        return {name: each for name, each in self.__pydantic_extra__.items() if each.enabled}

    @property
    def policy(self) -> AlertPolicy:
        """When receivers are alerted."""
        repeat = None if self.repeat is None else parse_duration(self.repeat)
        return AlertPolicy(parse_duration(self.after), parse_duration(self.every), repeat, self.recovered)
