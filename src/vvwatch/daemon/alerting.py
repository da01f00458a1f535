"""Who is alerted, as the configuration says, and of what: the list of what needs attention."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from vvwatch.api.http.context import ApiContext
from vvwatch.api.routes.attention import list_attention, recent_since
from vvwatch.config import Config
from vvwatch.config.alerting import AlertReceiver
from vvwatch.core.alert_texts import FORMATS, format_mail
from vvwatch.core.alerts import Message, Problem
from vvwatch.core.deliveries import signature_headers
from vvwatch.core.events import canonical_json
from vvwatch.ports import Clock, Reply
from vvwatch.senders.http import HttpSender
from vvwatch.senders.mail import MailServer, reach_mail, send_mail
from vvwatch.store.admin import status_queries
from vvwatch.store.admin.alerts import Sighting
from vvwatch.store.admin.status_queries import State
from vvwatch.store.db.database import Database
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.alerting import Alerts, Reach, Receiver, Send

_OF_THIS_NODE: Final = frozenset({"database", "connections", "connector", "source", "queue"})
"""Kinds of problems that a node sees and others do not."""


def build_alerts(config: Config, base: tuple[Database, Clock, Telemetry], sender: HttpSender) -> Alerts:
    """Return what alerts the receivers of the configuration."""
    receivers = build_receivers(config, sender)
    return Alerts(*base, receivers, random.random, is_shared=config.replicated)


def build_receivers(config: Config, sender: HttpSender) -> dict[str, Receiver]:
    """Return the receivers of the configuration by name."""
    found = {}
    for name, each in config.alerts.receivers.items():
        given = config.alert_secrets.get(name)
        secret = given.reveal() if given else ""
        choose = _choose_mail if each.type == "email" else _choose_url
        send, reach, target = choose(config, name, sender, secret)
        digest = _digest([each.type, sorted(each.kinds), target])
        found[name] = Receiver(send, config.alerts.policy, frozenset(each.kinds), digest, reach)
    return found


def _digest(parts: Sequence[Any]) -> str:
    """Return what stays the same as long as a receiver is the same people."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _choose_url(config: Config, name: str, sender: HttpSender, url: str) -> tuple[Send, Reach, Any]:
    kind, signing = config.alerts.receivers[name].type, config.alert_signing_secrets.get(name)
    target = Target(url, kind, signing.reveal() if signing else "", config.node.name)
    return partial(_post, sender, target), partial(sender.reach, url), url


def _choose_mail(config: Config, name: str, _: HttpSender, password: str) -> tuple[Send, Reach, Any]:
    receiver = config.alerts.receivers[name]
    server = MailServer(
        receiver.host or "",
        receiver.smtp_port,
        receiver.security,
        receiver.username or "",
        password,
        config.webhooks.ca_file,
        config.webhooks.timeout_seconds,
    )
    send = partial(_mail, server, receiver, config.node.name)
    target = [server.host, server.port, receiver.sender, list(receiver.to or ())]
    return send, partial(reach_mail, server), target


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes by HTTP: its URL, and the secret that signs it, or nothing."""

    url: str = field(repr=False)
    kind: str
    signing: str = field(repr=False)
    node: str


async def _post(sender: HttpSender, target: Target, message: Message, alert_id: str) -> Reply:
    body = canonical_json(FORMATS[target.kind](message, alert_id, target.node))
    headers = {"Content-Type": "application/json", "Idempotency-Key": alert_id}
    if target.signing:
        headers |= signature_headers(target.signing, alert_id, int(time.time()), body)
    return await sender.post(target.url, body, headers)


async def _mail(
    server: MailServer, receiver: AlertReceiver, node: str, message: Message, alert_id: str
) -> Reply:
    return await send_mail(
        server, receiver.sender or "", receiver.to or (), alert_id, format_mail(message, node)
    )


def find_problems(context: ApiContext) -> Callable[[], Awaitable[Sequence[Sighting]]]:
    """Return what finds all problems now: the shared ones, and those that only this node sees."""

    async def find() -> Sequence[Sighting]:
        daemon = await context.status()
        since = recent_since(context.clock.now())
        found = await context.database.read(status_queries.read_state, since)
        return split_problems(list_problems(found, daemon), context.settings.node)

    return find


def split_problems(problems: Sequence[Problem], node: str) -> Sequence[Sighting]:
    """Return the problems as sightings of all nodes and of this one."""
    mine = [each for each in problems if each.kind in _OF_THIS_NODE]
    shared = [each for each in problems if each.kind not in _OF_THIS_NODE]
    return Sighting("", shared), Sighting(node or "this node", mine)


def list_problems(found: State, daemon: Mapping[str, Any]) -> list[Problem]:
    """Return what needs attention, failures with the same cause as one problem that stays the same."""
    reasons = {each.id: f"{each.about}:{each.reason}" for each in found.failures.found}
    problems: dict[str, Problem] = {}
    for each in list_attention(found, dict(daemon)):
        key = f"{each.kind}:{reasons.get(each.attention_id, each.attention_id)}"
        name = "" if each.attention_id in reasons else f"{each.attention_id} "
        problem = Problem(key, each.kind, f"{name}{each.what}", each.fix, each.count, each.since)
        problems.setdefault(key, problem)
    return list(problems.values())
