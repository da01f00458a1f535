"""Edits of prompts through the API: change, deactivate, delete; and what uses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core import imports
from vvwatch.errors import Conflict
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.models.catalog import Prompt
from vvwatch.store.schema import import_automations, import_jobs, prompts

_MOST_NAMED: Final = 5


def change(tx: Tx, prompt_id: str, changes: Mapping[str, Any]) -> Prompt:
    """Set columns of the prompt; a change makes a new version. Runs keep the version they began with.

    Its schemas are not checked. Raises NotFound, or Conflict if the API may not change the prompt.
    """
    row = _require_editable(tx, prompt_id)
    news = {name: value for name, value in changes.items() if not catalog.is_same(getattr(row, name), value)}
    if news:
        tx.update(prompts, prompt_id, updated_at=tx.now, prompt_version=row.prompt_version + 1, **news)
    return catalog.get_prompt(tx, prompt_id)


def delete(tx: Tx, prompt_id: str, *, force: bool) -> list[str]:
    """Delete the prompt; only deactivate it if something uses it, and return the users. Runs keep their copy.

    Raises NotFound, or Conflict if the API may not delete it, or if it is used and `force` is not set.
    """
    _require_editable(tx, prompt_id)
    users = describe_users(tx, prompt_id)
    if users and not force:
        raise Conflict(
            f"prompt {prompt_id!r} is used by {', '.join(users)}",
            "give them another prompt, or deactivate this one with force=true",
        )
    if users:
        tx.update(prompts, prompt_id, is_active=False, updated_at=tx.now)
    else:
        tx.execute(sa.delete(prompts).where(prompts.c.id == prompt_id))
    return users


def _require_editable(tx: Tx, prompt_id: str) -> Prompt:
    row = catalog.get_prompt(tx, prompt_id)
    if row.is_default:
        raise Conflict(f"prompt {prompt_id!r} comes with vvwatch", "create a copy of your own")
    if row.declared:
        raise Conflict(f"prompt {prompt_id!r} is read-only here", catalog.DECLARED_HINT)
    return row


def describe_users(tx: Tx, prompt_id: str) -> list[str]:
    """Return some automations that use the prompt, and import jobs that will, in words."""
    names = sorted(_list_users(tx, prompt_id))
    return names if len(names) <= _MOST_NAMED else [*names[:_MOST_NAMED], "others like it"]


def _list_users(tx: Tx, prompt_id: str) -> Iterator[str]:
    automations = sa.select(import_automations.c.index_id, import_automations.c.prompt_preset)
    for row in tx.all(automations):
        if _uses_prompt(row.prompt_preset, prompt_id):
            yield f"the import automation of index {row.index_id}"
    going = import_jobs.c.status.not_in(imports.TERMINAL)
    for row in tx.all(sa.select(import_jobs.c.id, import_jobs.c.prompt_preset).where(going)):
        if _uses_prompt(row.prompt_preset, prompt_id):
            yield f"import job {row.id}"


def _uses_prompt(preset: Mapping[str, Any] | None, prompt_id: str) -> bool:
    return (preset or {}).get("prompt_id") == prompt_id
