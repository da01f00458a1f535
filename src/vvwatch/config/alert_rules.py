"""Checks receivers of alerts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from vvwatch.config.alerting import MAIL_KEYS, SIGNING_KEYS, URL_KEYS, AlertReceiver
from vvwatch.config.checked import Checked
from vvwatch.options.findings import Finding, Loc

_ADDRESS: Final = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
_HOST: Final = re.compile(r"[A-Za-z0-9.:_-]+")


def check_alerts(checked: Checked) -> Iterator[Finding]:
    """Yield what each receiver lacks, and keys that its type does not have."""
    for name, receiver in checked.settings.alerts.__pydantic_extra__.items():
        loc = ("alerts", name)
        if receiver.type and checked.sound((*loc, "type")):
            check = _check_mail if receiver.type == "email" else _check_url
            yield from check(checked, loc, receiver)


def _check_url(checked: Checked, loc: Loc, receiver: AlertReceiver) -> Iterator[Finding]:
    unsigned = () if receiver.type == "webhook" else SIGNING_KEYS
    yield from _find_strays(loc, receiver, (*MAIL_KEYS, *unsigned))
    if len(given := receiver.list_given(SIGNING_KEYS)) > 1 and not unsigned:
        yield Finding((*loc, given[-1]), "is a second secret", hint="keep one of the two")
    if len(receiver.list_given(URL_KEYS)) != 1 and checked.sound((*loc, "url_file")):
        hint = "keep it in a file: everybody who knows the URL can write there"
        yield Finding(loc, "needs one URL", "one of url_file, url_env", hint)


def _check_mail(checked: Checked, loc: Loc, receiver: AlertReceiver) -> Iterator[Finding]:
    yield from _find_strays(loc, receiver, (*URL_KEYS, *SIGNING_KEYS))
    for key, value in (("host", receiver.host), ("sender", receiver.sender), ("to", receiver.to)):
        if not value and checked.sound((*loc, key)):
            yield Finding(loc, f"{key} is missing", hint="mail needs host, sender and to")
    if receiver.host and not _HOST.fullmatch(receiver.host):
        yield Finding((*loc, "host"), "is no host name", "smtp.example.org")
    for key, address in (("sender", receiver.sender), *(("to", each) for each in receiver.to or ())):
        if address and not _ADDRESS.fullmatch(address):
            yield Finding((*loc, key), f"{address!r} is no mail address", "name@example.org")
    given = receiver.list_given(("password_file", "password_env"))
    if len(given) > 1 or bool(given) != bool(receiver.username):
        yield Finding(loc, "needs username with one of password_file, password_env, or none of them")
    if receiver.security == "none" and given:
        what = "the password would travel in clear text"
        yield Finding((*loc, "security"), what, "starttls or tls")


def _find_strays(loc: Loc, receiver: AlertReceiver, keys: tuple[str, ...]) -> Iterator[Finding]:
    for key in sorted(receiver.model_fields_set.intersection(keys)):
        yield Finding((*loc, key), f"has no meaning for type {receiver.type!r}", hint="remove it")
