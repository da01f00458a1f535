"""What `vvwatch status` tells: one answer of the API, in the parts that are shown."""

from __future__ import annotations

from typing import Any, Final

from vvwatch.cli.client import Client

Document = dict[str, Any]
_PARTS: Final = ("automations", "work", "attention")


def fetch_overview(client: Client) -> Document:
    """`daemon`, `automations`, `under_way` and `attention`: what needs somebody, each with what to type next."""
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
