"""The data of `vvwatch status`, from one answer of the API."""

from __future__ import annotations

from typing import Any, Final

from vvwatch.cli.client import Client

Document = dict[str, Any]
_PARTS: Final = ("automations", "work", "attention")


def fetch_overview(client: Client) -> Document:
    """Return `daemon`, `automations`, `under_way` and `attention`, whose items name the next command."""
    found = client.get("/status")
    return {
        "daemon": {name: value for name, value in found.items() if name not in _PARTS},
        "automations": found.get("automations") or [],
        "under_way": found.get("work") or {},
        "attention": [_fetch_attention(each) for each in found.get("attention") or ()],
    }


def _fetch_attention(found: Document) -> Document:
    rest = {
        name: value for name, value in found.items() if name not in ("fix", "kind", "attention_id", "what")
    }
    return {
        "kind": found["kind"],
        "id": found["attention_id"],
        "what": found["what"],
        "try": found["fix"],
        **rest,
    }
