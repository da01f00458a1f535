"""Brings the resources of the configuration file into the database, and releases removed ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import anyio.to_thread
import sqlalchemy as sa

from vvwatch.config import CloudConnector, Config, LocalConnector, ids
from vvwatch.config.models import Automation
from vvwatch.core.audit import CONFIG, Entry, Origin
from vvwatch.core.windows import WindowPolicy
from vvwatch.daemon.admin_key import load_admin_key
from vvwatch.daemon.credentials import check_credentials
from vvwatch.daemon.wiring import Components
from vvwatch.errors import StoreError
from vvwatch.processors.technical.processor import TECHNICAL_PROMPT
from vvwatch.store.admin import audit, keys, moving
from vvwatch.store.catalog import catalog, settings
from vvwatch.store.catalog.catalog import ConnectorSpec, PromptSpec
from vvwatch.store.db import sealing
from vvwatch.store.db.database import Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.delivery import webhooks
from vvwatch.store.delivery.webhooks import WebhookSpec
from vvwatch.store.schema import (
    api_keys,
    connectors,
    export_automations,
    import_automations,
    indexes,
    prompts,
)
from vvwatch.store.schema import webhooks as webhook_table
from vvwatch.store.watching import automations
from vvwatch.workflow.pipeline.prompts import check_prompts


async def apply_declarations(components: Components, config: Config) -> None:
    """Bring the database in line with `config`, all or nothing. Raises ConfigInvalid, InvalidInput, NotFound."""
    check_prompts(config, components.processors)
    await anyio.to_thread.run_sync(check_credentials, config)
    for entry in await components.database.write(_apply_all, config, components.box, load_admin_key(config)):
        components.telemetry.emit("audit.recorded", **entry.logged())


def _apply_all(tx: Tx, config: Config, box: SecretBox, key: str) -> list[Entry]:
    """Return the audit entries of the changes."""
    moving.require_whole(tx)
    before = _read_declared(tx)
    catalog.seed_default_prompt(tx, PromptSpec(**TECHNICAL_PROMPT))
    keys.seed_admin(tx, key, _admin_key_id(config))
    settings.check_key(tx, box, shared=config.replicated)
    if not config.replicated:
        catalog.clear_connector_nodes(tx)
    for name in config.connectors:
        _declare_connector(tx, config, box, name)
    for name, index in config.indexes.items():
        catalog.declare_index(tx, ids.index_id(name), index.name or name, index.description)
    for name, prompt in config.prompts.items():
        catalog.declare_prompt(tx, ids.prompt_id(name), _prompt_spec(name, prompt))
    kept = [
        _declare_automation(tx, name, automation, rescan=not config.replicated)
        for name, automation in config.automations.items()
    ]
    for name in config.webhooks.hooks:
        _declare_webhook(tx, config, box, name)
    _release_removed(tx, config, {pair[0] for pair in kept}, {pair[1] for pair in kept if pair[1]})
    return list(_record_changes(tx, before, _read_declared(tx)))


_Rows = dict[tuple[str, str], dict[str, Any]]
"""What is declared, by what it is and its id."""

_KINDS: Final = {
    connectors: "connector",
    indexes: "index",
    prompts: "prompt",
    import_automations: "automation",
    export_automations: "automation",
    webhook_table: "webhook",
}
_NO_EDIT: Final = frozenset(
    {"updated_at", "revision", "next_at", "cadence", "failure_count", "probe_at", "last_used_at"}
)
"""Columns that also change when the file is the same."""


def _read_declared(tx: Tx) -> _Rows:
    """Return the declared rows, and the operator's own key, as they are in the database."""
    chosen = [(sa.select(table).where(table.c.declared), kind) for table, kind in _KINDS.items()]
    own_key = api_keys.c.id.startswith(keys.ADMIN_KEY_ID, autoescape=True)
    chosen.append((sa.select(api_keys).where(own_key), "key"))
    return {(kind, row.id): dict(row._mapping) for rows, kind in chosen for row in tx.all(rows)}


def _record_changes(tx: Tx, before: _Rows, after: _Rows) -> Iterator[Entry]:
    """Record in the audit trail what the file created, changed and released."""
    for kind, identifier in {**before, **after}:
        old, new = before.get((kind, identifier)), after.get((kind, identifier))
        details: dict[str, Any] = {"name": str((new or old or {}).get("name", ""))}
        if old is None or new is None:
            action = f"{kind}.{'created' if old is None else 'released'}"
        elif fields := sorted(name for name in old if old[name] != new[name] and name not in _NO_EDIT):
            action, details = f"{kind}.changed", {**details, "fields": fields}
        else:
            continue
        yield audit.record(tx, Origin(CONFIG), action, identifier, details)


def _admin_key_id(config: Config) -> str:
    """Return the id of the admin key: its own for a key that a node created, a common one for a given key."""
    own = config.replicated and config.admin_key is None
    return f"{keys.ADMIN_KEY_ID}_{config.node.name}" if own else keys.ADMIN_KEY_ID


def _declare_connector(tx: Tx, config: Config, box: SecretBox, name: str) -> None:
    wanted, secret = config.connectors[name], config.connector_secrets.get(name)
    connector_id = ids.connector_id(name)
    node = wanted.node if isinstance(wanted, LocalConnector) and config.replicated else None
    spec = ConnectorSpec(
        name=name,
        provider=wanted.type,
        settings=wanted.location,
        node=node or "",
        scopes=wanted.scopes,
        import_mode=wanted.import_mode,
        export_base_path=wanted.export_base_path or None,
        credentials=None if secret is None else _seal_credentials(tx, box, connector_id, secret.reveal()),
        events=wanted.events.document if isinstance(wanted, CloudConnector) and wanted.events else None,
    )
    catalog.declare_connector(tx, connector_id, spec)


def _seal_credentials(tx: Tx, box: SecretBox, connector_id: str, text: str) -> bytes:
    """Return `text` sealed; as it is already stored if it is equal, so that nothing counts as changed."""
    kept = tx.execute(sa.select(connectors.c.credentials).where(connectors.c.id == connector_id)).scalar()
    with suppress(StoreError):  # another key has sealed it
        if kept is not None and box.open(kept) == text:
            return bytes(kept)
    return sealing.seal(tx, box, text)


def _prompt_spec(name: str, prompt: Any) -> PromptSpec:
    level = prompt.video_level
    return PromptSpec(
        name=prompt.name or name,
        prompt_text=prompt.prompt_text,
        json_schema=prompt.json_schema,
        description=prompt.description,
        video_level=None if level is None else level.model_dump(include={"instructions_text", "json_schema"}),
    )


def _declare_automation(tx: Tx, name: str, wanted: Automation, *, rescan: bool) -> tuple[str, str | None]:
    """Return the ids of the import and the export automation, which stay when the file renames them."""
    index_id = ids.index_id(wanted.index)
    spec = automations.ImportSpec(
        connector_id=ids.connector_id(wanted.connector),
        source_prefix=wanted.prefix,
        file_pattern=wanted.pattern,
        recursive=wanted.recursive,
        debounce_interval=wanted.debounce,
        policy=WindowPolicy(wanted.quiet_seconds, wanted.max_wait_seconds, wanted.max_objects),
        scan_seconds=wanted.scan_seconds,
        settle_seconds=wanted.settle_seconds,
        preset={**wanted.prompt.model_dump(), "prompt_id": ids.prompt_id(wanted.prompt.prompt_id)},
        enabled=wanted.enabled,
        paused=wanted.paused or _is_paused(tx, import_automations, index_id),
        process_existing=wanted.process_existing,
        import_mode_override=wanted.import_mode,
        concurrency=wanted.concurrency,
        max_list_calls_per_hour=wanted.max_list_calls_per_hour,
        exclude=wanted.exclude,
        min_size_bytes=wanted.min_size_bytes,
        max_size_bytes=wanted.max_size_bytes,
        declared=True,
    )
    saved = automations.save_import(tx, index_id, spec, ids.automation_id(name), rescan=rescan)
    if wanted.export is None:
        return saved.id, None
    export = automations.ExportSpec(
        destination_connector_id=ids.connector_id(wanted.export.connector),
        destination_subpath=wanted.export.subpath,
        enabled=wanted.export.enabled,
        paused=_is_paused(tx, export_automations, index_id),
        declared=True,
    )
    return saved.id, automations.save_export(tx, index_id, export, ids.export_automation_id(name)).id


def _is_paused(tx: Tx, table: sa.Table, index_id: str) -> bool:
    """Return whether a person paused it, which outlives a restart."""
    return bool(tx.execute(sa.select(table.c.paused).where(table.c.index_id == index_id)).scalar())


def _declare_webhook(tx: Tx, config: Config, box: SecretBox, name: str) -> None:
    wanted = config.webhooks.hooks[name]
    webhook_id = ids.webhook_id(name)
    found = tx.first(sa.select(webhook_table).where(webhook_table.c.id == webhook_id))
    kept = webhooks.new_secret() if found is None else box.open(found.secret)
    given = config.webhook_secrets.get(name)
    spec = WebhookSpec(
        name=name,
        url=wanted.url,
        events=wanted.events,
        index_ids=None if wanted.indexes is None else tuple(map(ids.index_id, wanted.indexes)),
        metadata=wanted.metadata,
    )
    policy = config.webhooks.policy
    webhooks.declare(tx, box, webhook_id, spec, given.reveal() if given else kept, policy)
    if not wanted.enabled:
        tx.update(webhook_table, webhook_id, status="disabled")


def _release_removed(tx: Tx, config: Config, imports: set[str], exports: set[str]) -> None:
    """Make resources editable that left the file; stop its automations and webhooks."""
    wanted = {
        connectors: set(map(ids.connector_id, config.connectors)),
        indexes: set(map(ids.index_id, config.indexes)),
        prompts: {catalog.DEFAULT_PROMPT_ID, *map(ids.prompt_id, config.prompts)},
        import_automations: imports,
        export_automations: exports,
        webhook_table: set(map(ids.webhook_id, config.webhooks.hooks)),
    }
    stopped: dict[sa.Table, dict[str, Any]] = {
        import_automations: {"enabled": False, "next_at": None, "updated_at": tx.now},
        export_automations: {"enabled": False},
        webhook_table: {"status": "disabled"},
    }
    for table, kept in wanted.items():
        gone = sa.update(table).where(table.c.declared, table.c.id.not_in(kept))
        tx.execute(gone.values(declared=False, **stopped.get(table, {})))
