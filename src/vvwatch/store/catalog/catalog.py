"""Connectors, indexes and prompts: the parts of automations.

Each can be created through the API or declared in the configuration file; `declare_*` updates the stored row from
the file, keeps its id and its history, and leaves it untouched if nothing changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.json_schemas import check_json_schema
from vvwatch.core.processors import TECHNICAL_PROMPT_ID
from vvwatch.errors import Conflict, NotFound
from vvwatch.store.catalog import subscribers
from vvwatch.store.catalog.ceilings import require_room
from vvwatch.store.catalog.deleted import free_deleted_id, is_not_deleted, require_not_deleted
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import first_of, model_of, models_of
from vvwatch.store.models.catalog import Connector, Index, Prompt
from vvwatch.store.schema import connectors, indexes, prompts

DEFAULT_PROMPT_ID: Final = TECHNICAL_PROMPT_ID
"""The built-in prompt."""

PLAYGROUND_ID: Final = "idx__playground"
"""The index for requests that name none; no declared index can have this name."""

_UPLOADS_ID: Final = "conn__uploads"

DECLARED_HINT: Final = "it is declared in the configuration file: edit it there and reload"

DISABLED: Final = "disabled"
"""The status of a connector that is disabled for a while."""
DELETED: Final = "deleted"
"""The status of a deleted connector: its row stays, without credentials, for the history that refers to it."""
_PUT_ASIDE: Final = (DISABLED, DELETED)


@dataclass(frozen=True, slots=True)
class ConnectorSpec:
    """The settings of a connector. `settings` is the provider's location, `credentials` is sealed JSON.

    `node` is the only node that reaches it; empty if all do. `events` has the queue that reports changes
    (`queue`, `mode`, `sweep_seconds`, `late_seconds`, perhaps `endpoint_url`); None without one.
    """

    name: str
    provider: str
    settings: Mapping[str, Any]
    scopes: tuple[str, ...] = ("import",)
    import_mode: str = "all"
    export_base_path: str | None = None
    credentials: bytes | None = field(default=None, repr=False)
    node: str = ""
    events: Mapping[str, Any] | None = None

    def columns(self) -> dict[str, Any]:
        """The row's values."""
        events = None if self.events is None else dict(self.events)
        settings, scopes = dict(self.settings), list(self.scopes)
        return {**asdict(self), "settings": settings, "scopes": scopes, "events": events}


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """The settings of a prompt."""

    name: str
    prompt_text: str
    json_schema: Mapping[str, Any]
    description: str = ""
    video_level: Mapping[str, Any] | None = None
    semantic_indexing: Mapping[str, Any] | None = None
    execution_config: Mapping[str, Any] | None = None

    def columns(self) -> dict[str, Any]:
        """The row's values."""
        return asdict(self)


def create_connector(tx: Tx, spec: ConnectorSpec) -> Connector:
    """Create a connector, `testing` until its first test is recorded; return it.

    Raises Conflict if another connector has its queue, LimitReached.
    """
    require_room(tx, connectors)
    connector_id = tx.new_id("conn")
    require_own_queue(tx, connector_id, spec.events)
    moments = {"created_at": tx.now, "updated_at": tx.now}
    tx.insert(connectors, id=connector_id, status="testing", **moments, **spec.columns())
    return get_connector(tx, connector_id)


def get_connector(tx: Tx, connector_id: str) -> Connector:
    """Return the connector. Raises NotFound, also for a deleted one and for that of uploads, which no user manages."""
    row = read_connector(tx, connector_id)
    if row.status == DELETED or row.builtin:
        raise NotFound("connector", connector_id)
    return row


def read_connector(tx: Tx, connector_id: str) -> Connector:
    """Return the connector, deleted or not. Raises NotFound."""
    return model_of(Connector, tx.require(connectors, "connector", connector_id))


def list_connectors(tx: Tx) -> Sequence[Connector]:
    """Return all connectors that are not deleted, oldest first, without those of uploads."""
    there = sa.select(connectors).where(connectors.c.status != DELETED, ~connectors.c.builtin)
    return models_of(Connector, tx.all(there.order_by(connectors.c.created_at, connectors.c.id)))


def declare_connector(tx: Tx, connector_id: str, spec: ConnectorSpec) -> Connector:
    """Create or update the connector as declared, also one that was disabled or deleted through the API; return it.

    If its queue changed, everything is listed again first.
    """
    found = tx.first(sa.select(connectors).where(connectors.c.id == connector_id))
    _declare(tx, connectors, connector_id, spec.columns(), {"updated_at": tx.now})
    if found is not None and found.status in _PUT_ASIDE:
        tx.update(connectors, connector_id, status="active", updated_at=tx.now)
    row = get_connector(tx, connector_id)
    if found is not None and found.events != row.events:
        subscribers.rescan_connector(tx, connector_id)
    return row


def uploads_id(node: str) -> str:
    """Return the id of the uploads connector of `node` (empty: the only node); no declared id can be like it."""
    return f"{_UPLOADS_ID}_{node}" if node else _UPLOADS_ID


def is_uploads(connector_id: str | None) -> bool:
    """Return whether this is the id of an uploads connector."""
    return (connector_id or "").startswith(_UPLOADS_ID)


def select_is_uploads(connector_id: sa.ColumnElement[str | None]) -> sa.ColumnElement[bool]:
    """Return the expression that says of a column what `is_uploads` says of an id."""
    return sa.func.coalesce(connector_id, "").startswith(_UPLOADS_ID, autoescape=True)


def ensure_uploads_connector(tx: Tx, node: str, root: str) -> Connector:
    """Return the uploads connector of a node, whose files are below `root`; create it if needed."""
    found = sa.select(connectors).where(connectors.c.id == uploads_id(node))
    own = {"id": uploads_id(node), "name": "uploads", "provider": "local", "settings": {"root": root}}
    moments = {"created_at": tx.now, "updated_at": tx.now}
    if tx.first(found) is None:
        tx.insert_new(connectors, [{**own, "scopes": ["import"], "node": node, "builtin": True, **moments}])
    row = read_connector(tx, uploads_id(node))
    if row.settings["root"] == root:
        return row
    tx.update(connectors, row.id, settings={"root": root}, updated_at=tx.now)
    return read_connector(tx, row.id)


def move_uploads(tx: Tx, node: str, root: str) -> None:
    """Set the folder of a node's uploads, if it has any, to `root`."""
    if tx.first(sa.select(connectors.c.id).where(connectors.c.id == uploads_id(node))) is not None:
        ensure_uploads_connector(tx, node, root)


def require_own_queue(tx: Tx, connector_id: str, events: Mapping[str, Any] | None) -> None:
    """Raise Conflict if another connector has the same queue and one of the two does not share it."""
    if not events:
        return
    for row in list_connectors(tx):
        same = row.id != connector_id and row.events and row.events["queue"] == events["queue"]
        if same and row.events and "exclusive" in (row.events["mode"], events["mode"]):
            raise Conflict(
                f"connector {row.id!r} uses the same event queue",
                "give each its own queue, or set the mode of both to shared",
            )


def clear_connector_nodes(tx: Tx) -> None:
    """Record that the only node reaches every connector."""
    tx.execute(sa.update(connectors).where(connectors.c.node != "").values(node=""))


def record_test(tx: Tx, connector_id: str, error: str | None) -> Connector:
    """Record the result of a connector test; `error` None: it passed. Raises NotFound.

    A connector that was disabled meanwhile stays disabled.
    """
    found = get_connector(tx, connector_id)
    status = "failed" if error else "active"
    tx.update(
        connectors,
        connector_id,
        status=found.status if found.status == DISABLED else status,
        last_tested_at=tx.now,
        last_test_result="failed" if error else "success",
        last_test_error=error,
    )
    return get_connector(tx, connector_id)


def create_index(tx: Tx, name: str, description: str | None = None) -> Index:
    """Create an index; return it. Raises LimitReached."""
    require_room(tx, indexes)
    index_id = tx.new_id("idx")
    tx.insert(indexes, id=index_id, name=name, description=description, created_at=tx.now)
    return get_index(tx, index_id)


def get_index(tx: Tx, index_id: str) -> Index:
    """Return the index. Raises NotFound, also for a deleted one."""
    require_not_deleted(tx, "index", index_id)
    return model_of(Index, tx.require(indexes, "index", index_id))


def list_indexes(tx: Tx, *, include_defaults: bool = True) -> Sequence[Index]:
    """Return all indexes that are not deleted, oldest first; optionally without the playground."""
    wanted = (
        [is_not_deleted(indexes.c.id)]
        if include_defaults
        else [is_not_deleted(indexes.c.id), ~indexes.c.is_default]
    )
    found = sa.select(indexes).where(*wanted).order_by(indexes.c.created_at, indexes.c.id)
    return models_of(Index, tx.all(found))


def ensure_playground(tx: Tx) -> Index:
    """Return the index for requests that name none; create it if needed."""
    found = sa.select(indexes).where(indexes.c.id == PLAYGROUND_ID)
    if tx.first(found) is None:
        made = {"id": PLAYGROUND_ID, "name": "Playground", "is_default": True, "created_at": tx.now}
        tx.insert_new(indexes, [made])
    return model_of(Index, tx.execute(found).one())


def ensure_index_named(tx: Tx, name: str) -> tuple[Index, bool]:
    """Return the oldest index with exactly this name, and whether it was created now."""
    named = sa.select(indexes).where(indexes.c.name == name, is_not_deleted(indexes.c.id))
    found = first_of(Index, tx.execute(named.order_by(indexes.c.created_at, indexes.c.id).limit(1)))
    return (create_index(tx, name), True) if found is None else (found, False)


def require_own_index(tx: Tx, index_id: str, hint: str = DECLARED_HINT) -> Index:
    """Return the index if the API may change or delete it. Raises NotFound, or Conflict (`hint`: it is declared)."""
    row = get_index(tx, index_id)
    if row.declared:
        raise Conflict(f"index {index_id!r} is read-only here", hint)
    if row.is_default:
        raise Conflict(f"index {index_id!r} is built in", "create an index of your own")
    return row


def change_index(tx: Tx, index_id: str, changes: Mapping[str, Any]) -> Index:
    """Set columns of the index. Raises as `require_own_index`."""
    require_own_index(tx, index_id)
    if changes:
        tx.update(indexes, index_id, **changes)
    return get_index(tx, index_id)


def declare_index(tx: Tx, index_id: str, name: str, description: str | None = None) -> Index:
    """Create or update the index as declared; return it. Raises Conflict while one with this id is being deleted."""
    free_deleted_id(tx, "index", index_id)
    _declare(tx, indexes, index_id, {"name": name, "description": description}, {})
    return get_index(tx, index_id)


def create_prompt(tx: Tx, spec: PromptSpec) -> Prompt:
    """Create a prompt, version 1; return it. Its schemas are not checked. Raises LimitReached."""
    require_room(tx, prompts)
    prompt_id = tx.new_id("prompt")
    tx.insert(prompts, id=prompt_id, created_at=tx.now, updated_at=tx.now, **spec.columns())
    return get_prompt(tx, prompt_id)


def get_prompt(tx: Tx, prompt_id: str) -> Prompt:
    """Return the prompt. Raises NotFound."""
    return model_of(Prompt, tx.require(prompts, "prompt", prompt_id))


def list_prompts(tx: Tx, *, include_defaults: bool) -> Sequence[Prompt]:
    """Return prompts, oldest first, including deactivated ones."""
    wanted = [] if include_defaults else [~prompts.c.is_default]
    found = sa.select(prompts).where(*wanted).order_by(prompts.c.created_at, prompts.c.id)
    return models_of(Prompt, tx.all(found))


def declare_prompt(tx: Tx, prompt_id: str, spec: PromptSpec) -> Prompt:
    """Create or update the prompt as declared; return it. A change makes a new version. Raises InvalidInput.

    A prompt that was deactivated through the API is active again.
    """
    _check_schemas(spec)
    _declare(tx, prompts, prompt_id, {**spec.columns(), "is_active": True}, _next_version(tx))
    return get_prompt(tx, prompt_id)


def seed_default_prompt(tx: Tx, spec: PromptSpec) -> Prompt:
    """Create or update the built-in prompt to that of this version of the program."""
    _declare(tx, prompts, DEFAULT_PROMPT_ID, spec.columns(), _next_version(tx))
    tx.update(prompts, DEFAULT_PROMPT_ID, is_default=True)
    return get_prompt(tx, DEFAULT_PROMPT_ID)


def _next_version(tx: Tx) -> dict[str, Any]:
    return {"updated_at": tx.now, "prompt_version": prompts.c.prompt_version + 1}


def _check_schemas(spec: PromptSpec) -> None:
    check_json_schema(spec.json_schema)
    if spec.video_level is not None:
        check_json_schema(spec.video_level["json_schema"])


def _declare(
    tx: Tx, table: sa.Table, identifier: str, values: Mapping[str, Any], changed: Mapping[str, Any]
) -> None:
    """Insert the row; update it, including `changed`, if one of `values` differs."""
    found = tx.first(sa.select(table).where(table.c.id == identifier))
    if found is None:
        moments = {"updated_at": tx.now} if "updated_at" in table.c else {}
        tx.insert(table, id=identifier, declared=True, created_at=tx.now, **moments, **values)
    elif not found.declared or not all(
        is_same(found._mapping[name], value) for name, value in values.items()
    ):
        tx.update(table, identifier, declared=True, **values, **changed)


def is_same(stored: Any, value: Any) -> bool:
    """Return whether a column has this value already. In a document, true is not 1."""
    if isinstance(stored, dict) and isinstance(value, dict):
        return json.dumps(stored, sort_keys=True) == json.dumps(value, sort_keys=True)
    return bool(stored == value)
