"""A bucket's notification configuration: which destinations receive which events, and what a queue misses.

Configurations have the service's form: `QueueConfigurations`, `TopicConfigurations`, `LambdaFunctionConfigurations`
and `EventBridgeConfiguration`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

QUEUES: Final = "QueueConfigurations"
TOPICS: Final = "TopicConfigurations"
EVENT_BRIDGE: Final = "EventBridgeConfiguration"

CREATED: Final = "s3:ObjectCreated"
"""The event family of new objects."""
_EVERY: Final = f"{CREATED}:*"
_WAYS: Final = ("Put", "Post", "Copy", "CompleteMultipartUpload")
_BESIDES: Final = ("s3:ObjectRemoved:*", "s3:ObjectRestore:Completed")
_DESTINATIONS: Final = {
    QUEUES: "QueueArn",
    TOPICS: "TopicArn",
    "LambdaFunctionConfigurations": "LambdaFunctionArn",
}
_OUR_ID: Final = "vvwatch"


@dataclass(frozen=True, slots=True)
class Rule:
    """The events that a bucket sends to a destination, for keys with a prefix and a suffix."""

    arn: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""

    @property
    def scope(self) -> str:
        """Return its keys as a pattern."""
        return f"{self.prefix}*{self.suffix}"

    def has_event(self, family: str) -> bool:
        """Return whether it covers any event of the family, such as `s3:ObjectCreated`."""
        return any(event.startswith(f"{family}:") for event in self.events)

    def list_missed_creations(self) -> tuple[str, ...]:
        """Return the kinds of creation that it does not cover."""
        if _EVERY in self.events:
            return ()
        return tuple(way for way in _WAYS if f"{CREATED}:{way}" not in self.events)

    def may_overlap(self, other: Rule) -> bool:
        """Return whether some key may match both."""
        return _one_within(self.prefix, other.prefix) and _one_within(self.suffix[::-1], other.suffix[::-1])


def read_configuration(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration in the service's response."""
    return {name: deepcopy(answer[name]) for name in (*_DESTINATIONS, EVENT_BRIDGE) if name in answer}


def rules_of(config: Mapping[str, Any], kind: str, arn: str = "") -> list[Rule]:
    """Return the rules for destinations of a kind, all or the one at `arn`; one per scope."""
    found: dict[tuple[str, str, str], Rule] = {}
    for entry in config.get(kind, ()):
        rule = _parse_rule(kind, entry)
        if rule.arn == (arn or rule.arn):
            place = rule.arn, rule.prefix, rule.suffix
            known = found.get(place)
            found[place] = Rule(rule.arn, rule.events + (known.events if known else ()), *place[1:])
    return list(found.values())


def list_unheard(rules: Sequence[Rule]) -> list[str]:
    """Return the useful events, besides new objects, that no rule covers."""
    return [event for event in _BESIDES if not any(rule.has_event(_event_family(event)) for rule in rules)]


def complete_configuration(config: Mapping[str, Any], kind: str, arn: str) -> dict[str, Any] | None:
    """Return `config` with all events that the destination needs and everything else unchanged.

    None if that is impossible: two overlapping rules may not cover one event.
    """
    wanted = deepcopy(dict(config))
    entries = wanted.setdefault(kind, [])
    rules = [(entry, _parse_rule(kind, entry)) for entry in entries]
    ours = [entry for entry, rule in rules if rule.arn == arn and rule.has_event(CREATED)]
    if not ours:
        ours = [{"Id": _OUR_ID, _DESTINATIONS[kind]: arn, "Events": []}]
        entries += ours
    for entry in ours:
        rule = _parse_rule(kind, entry)
        others = [other for other in _collect_rules(wanted, entry) if other.may_overlap(rule)]
        if rule.list_missed_creations():
            if any(other.has_event(CREATED) for other in others):
                return None
            entry["Events"] = [*_remove_events(CREATED, rule.events), _EVERY]
        entry["Events"] += [
            e for e in list_unheard([rule]) if not any(o.has_event(_event_family(e)) for o in others)
        ]
    return wanted


def _collect_rules(config: Mapping[str, Any], but: Mapping[str, Any]) -> list[Rule]:
    return [
        _parse_rule(kind, entry)
        for kind in _DESTINATIONS
        for entry in config.get(kind, ())
        if entry is not but
    ]


def _parse_rule(kind: str, entry: Mapping[str, Any]) -> Rule:
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    filters = {str(rule.get("Name", "")).lower(): str(rule.get("Value", "")) for rule in rules}
    events = tuple(entry.get("Events", ()))
    return Rule(
        entry.get(_DESTINATIONS[kind], ""), events, filters.get("prefix", ""), filters.get("suffix", "")
    )


def _remove_events(family: str, events: Sequence[str]) -> list[str]:
    return [event for event in events if not event.startswith(f"{family}:")]


def _event_family(event: str) -> str:
    return event.rpartition(":")[0]


def _one_within(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
