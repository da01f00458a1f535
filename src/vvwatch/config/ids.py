"""Ids of declared resources: derived from their names, so equal after every start."""

from __future__ import annotations


def connector_id(name: str) -> str:
    """`conn_<name>`."""
    return f"conn_{name}"


def index_id(name: str) -> str:
    """`idx_<name>`."""
    return f"idx_{name}"


def prompt_id(name: str) -> str:
    """`prompt_<name>`; an id stays what it is, so that a preset may name a prompt made over the API."""
    return name if name.startswith("prompt_") else f"prompt_{name}"


def automation_id(name: str) -> str:
    """`auto_<name>`, of the import automation."""
    return f"auto_{name}"


def export_automation_id(name: str) -> str:
    """`auto_<name>_export`, of the export automation."""
    return f"auto_{name}_export"


def webhook_id(name: str) -> str:
    """`wh_<name>`."""
    return f"wh_{name}"
