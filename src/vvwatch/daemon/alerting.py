"""Who is alerted, as the configuration says, and of what: the list of what needs attention."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from vvwatch.api.http.context import ApiContext
from vvwatch.api.routes.attention import list_attention, recent_since
from vvwatch.config import Config
from vvwatch.config.alerting import AlertReceiver
from vvwatch.core.alert_texts import FORMATS, format_mail
from vvwatch.core.alerts import Message, Problem
from vvwatch.core.events import canonical_json
from vvwatch.ports import Clock, Reply
from vvwatch.senders.http import HttpSender
from vvwatch.senders.mail import MailServer, send_mail
from vvwatch.store.admin import status_queries
from vvwatch.store.admin.alerts import Sighting
from vvwatch.store.admin.status_queries import State
from vvwatch.store.db.database import Database
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.alerting import Alerts, Receiver, Send

_OF_THIS_NODE: Final = frozenset({"database", "connections", "connector", "source", "queue"})
"""Kinds of problems that a node sees and others do not."""


def build_alerts(config: Config, base: tuple[Database, Clock, Telemetry], sender: HttpSender) -> Alerts:
    """Return what alerts the receivers of the configuration."""
    return Alerts(*base, build_receivers(config, sender), random.random)


def build_receivers(config: Config, sender: HttpSender) -> dict[str, Receiver]:
    """Return the receivers of the configuration by name."""
    return {
        name: Receiver(_choose_way(config, name, each, sender), config.alerts.policy, frozenset(each.kinds))
        for name, each in config.alerts.receivers.items()
    }


def _choose_way(config: Config, name: str, receiver: AlertReceiver, sender: HttpSender) -> Send:
    node = config.node.name
    given = config.alert_secrets.get(name)
    secret = given.reveal() if given else ""
    if receiver.type != "email":
        return partial(_post, sender, secret, receiver.type, node)
    server = MailServer(
        receiver.host or "",
        receiver.smtp_port,
        receiver.security,
        receiver.username or "",
        secret,
        config.webhooks.ca_file,
        config.webhooks.timeout_seconds,
    )
    return partial(_mail, server, receiver, node)


async def _post(sender: HttpSender, url: str, kind: str, node: str, message: Message, alert_id: str) -> Reply:
    body = canonical_json(FORMATS[kind](message, alert_id, node))
    headers = {"Content-Type": "application/json", "Idempotency-Key": alert_id}
    return await sender.post(url, body, headers)


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
