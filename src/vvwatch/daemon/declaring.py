"""Brings the resources of the configuration file into the database, and releases removed ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import anyio.to_thread

from vvwatch.config import CloudConnector, Config, LocalConnector, ids
from vvwatch.config.models import Automation
from vvwatch.core.audit import CONFIG, Entry, Origin
from vvwatch.core.windows import WindowPolicy
from vvwatch.daemon.credentials import check_credentials
from vvwatch.daemon.files import load_admin_key
from vvwatch.daemon.wiring import Components
from vvwatch.errors import StoreError
from vvwatch.processors.technical.processor import TECHNICAL_PROMPT
from vvwatch.store.admin import audit, declared, keys, moving
from vvwatch.store.catalog import catalog, settings
from vvwatch.store.catalog.catalog import ConnectorSpec, PromptSpec
from vvwatch.store.db import sealing
from vvwatch.store.db.database import Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.delivery import webhooks
from vvwatch.store.delivery.webhooks import WebhookSpec
from vvwatch.store.watching import automations
from vvwatch.workflow.pipeline.prompts import check_prompts


async def apply_declarations(components: Components, config: Config) -> None:
    """Bring the database in line with `config`, all or nothing. Raises ConfigInvalid, InvalidInput, NotFound."""
    check_prompts(config, components.processors)
    await anyio.to_thread.run_sync(check_credentials, config)
    for entry in await components.database.write(_apply_all, config, components.box, load_admin_key(config)):
        components.telemetry.emit("audit.recorded", **entry.to_log_fields())


def _apply_all(tx: Tx, config: Config, box: SecretBox, key: str) -> list[Entry]:
    """Return the audit entries of the changes."""
    moving.require_whole(tx)
    before = declared.read_declared(tx)
    catalog.seed_default_prompt(tx, PromptSpec(**TECHNICAL_PROMPT))
    keys.seed_admin(tx, key, admin_key_id(config))
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
    still = {
        "connectors": set(map(ids.connector_id, config.connectors)),
        "indexes": set(map(ids.index_id, config.indexes)),
        "prompts": {catalog.DEFAULT_PROMPT_ID, *map(ids.prompt_id, config.prompts)},
        "import_automations": {pair[0] for pair in kept},
        "export_automations": {pair[1] for pair in kept if pair[1]},
        "webhooks": set(map(ids.webhook_id, config.webhooks.hooks)),
    }
    declared.release_removed(tx, still)
    return list(_record_changes(tx, before, declared.read_declared(tx)))


_Rows = dict[tuple[str, str], dict[str, Any]]
"""What is declared, by what it is and its id."""

_NO_EDIT: Final = frozenset(
    {"updated_at", "revision", "next_at", "cadence", "failure_count", "probe_at", "last_used_at"}
)
"""Columns that also change when the file is the same."""


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


def admin_key_id(config: Config) -> str:
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
    kept = declared.find_credentials(tx, connector_id)
    with suppress(StoreError):  # another key has sealed it
        if kept is not None and box.open(kept) == text:
            return kept
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
        paused=wanted.paused or declared.is_import_paused(tx, index_id),
        process_existing=wanted.process_existing,
        import_mode_override=wanted.import_mode,
        concurrency=wanted.concurrency,
        max_list_calls_per_hour=wanted.max_list_calls_per_hour,
        exclude=wanted.exclude,
        min_size_bytes=wanted.min_size_bytes,
        max_size_bytes=wanted.max_size_bytes,
        facts=wanted.wanted_facts,
        declared=True,
    )
    saved = automations.save_import(tx, index_id, spec, ids.automation_id(name), rescan=rescan)
    if wanted.export is None:
        return saved.id, None
    export = automations.ExportSpec(
        destination_connector_id=ids.connector_id(wanted.export.connector),
        destination_subpath=wanted.export.subpath,
        options=wanted.export.options,
        enabled=wanted.export.enabled,
        paused=declared.is_export_paused(tx, index_id),
        declared=True,
    )
    return saved.id, automations.save_export(tx, index_id, export, ids.export_automation_id(name)).id


def _declare_webhook(tx: Tx, config: Config, box: SecretBox, name: str) -> None:
    wanted = config.webhooks.hooks[name]
    webhook_id = ids.webhook_id(name)
    found = webhooks.find(tx, webhook_id)
    kept = webhooks.new_secret() if found is None else box.open(found.secret)
    given = config.webhook_secrets.get(name)
    spec = WebhookSpec(
        name=name,
        url=wanted.url,
        events=wanted.events,
        index_ids=None if wanted.indexes is None else tuple(map(ids.index_id, wanted.indexes)),
        metadata=wanted.metadata,
    )
    secret, policy = given.reveal() if given else kept, config.webhooks.policy
    webhooks.declare(tx, box, webhook_id, spec, secret, policy, enabled=wanted.enabled)
