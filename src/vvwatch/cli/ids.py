"""Ids as people type them: `job_` and the digits that tables show, or any part at the beginning or end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from vvwatch.cli.client import Client
from vvwatch.cli.failures import Failure

_WHOLE: Final = re.compile(r"[a-z]+_[0-9a-z]{26}", re.ASCII)
_GENERATED: Final = re.compile(r"^([a-z]+_)?[0-9a-z]{26}$", re.ASCII)
_PART: Final = re.compile(r"[0-9a-z]{4,26}", re.ASCII)
_SHORTEST: Final = 4
_ELLIPSIS: Final = ".…"
_LISTS: Final = {
    "conn": ("/connectors", "connector_id"),
    "wh": ("/webhooks", "webhook_id"),
    "key": ("/api-keys", "key_id"),
}
"""Kinds that the API lists whole: where, and the field of the id. The daemon looks for ids of other kinds."""
WORK: Final = ("job", "run", "exp", "del")
"""What can be retried and dismissed."""


def find_id(client: Client, given: str, *kinds: str) -> str:
    """Return the whole id that `given` means among these kinds.

    An id that nothing matches is returned as it is: the API says what is wrong with it. Raises Failure if several
    match.
    """
    if _WHOLE.fullmatch(given):
        return given
    kind, part = _split_id(given, kinds)
    among = (kind,) if kind else kinds
    found = sorted({each for kind in among for each in _list_candidates(client, kind, part)})
    if len(found) > 1:
        raise ambiguous_id(given, found)
    return found[0] if found else given


def ambiguous_id(given: str, found: Sequence[str]) -> Failure:
    """Return the failure of a name that means several."""
    return Failure(
        f"{given!r} could be any of several", f"name one: {', '.join(found)}", reason="ambiguous_id"
    )


def match_names(given: str, names: Sequence[str]) -> bool:
    """Return whether `given`, at least four characters, begins or ends one of these names.

    A name that people chose is shortened only where an ellipsis says so: who names `cam1`, which is gone, must not
    pause `cam12`.
    """
    part = given.strip(_ELLIPSIS)
    if part != given:
        return len(part) >= _SHORTEST and any(each.startswith(part) or each.endswith(part) for each in names)
    kind, _, part = part.rpartition("_")
    generated = [each.rpartition("_") for each in names if _GENERATED.search(each)]
    digits = [digits for its_kind, _, digits in generated if kind in ("", its_kind)]
    return len(part) >= _SHORTEST and any(each.startswith(part) or each.endswith(part) for each in digits)


def _split_id(given: str, kinds: Sequence[str]) -> tuple[str, str]:
    """Return the kind, empty if `given` names none of these, and the other characters."""
    kind, _, rest = given.partition("_")
    return (kind, rest) if kind in kinds else ("", given)


def _list_candidates(client: Client, kind: str, part: str) -> Iterator[str]:
    if kind in _LISTS:
        yield from _list_declared(client, kind, part)
    elif _PART.fullmatch(part.strip(_ELLIPSIS).lower()):
        found = client.find("/ids", kind=kind, part=part.strip(_ELLIPSIS).lower()) or []
        yield from (each["resource_id"] for each in found)


def _list_declared(client: Client, kind: str, part: str) -> Iterator[str]:
    """Return the id that is exactly this, else those that begin or end so."""
    path, field = _LISTS[kind]
    found: list[dict[str, Any]] = client.find(path) or []
    named = {each[field]: each[field].partition("_")[2] for each in found}
    exact = [each for each, name in named.items() if part == name]
    yield from exact or [each for each, name in named.items() if match_names(part, (name,))]
