"""Connectors, indexes, prompts and API keys, and the audit trail of who changed them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, LargeBinary

from vvwatch.store.schema.columns import Text, count, document, flag, identifier, metadata, moment, text

connectors = sa.Table(
    "connectors",
    metadata,
    identifier(),
    text("name"),
    text("provider"),  # a kind in providers/registry.py
    text("status", "active"),  # active testing failed disabled deleted
    document("scopes"),  # list of import, export
    text("import_mode", "all"),  # all new_only
    Column("export_base_path", Text),
    document("settings"),  # the provider's location; {"root": "/abs/path"}, {"bucket": "…", …}
    text("node"),  # the only node that reaches it; empty: every one does
    document("events"),  # where the store reports changes: {"queue": "…", "mode": "exclusive"}; NULL: nowhere
    Column("credentials", LargeBinary),  # encrypted JSON
    flag("declared"),  # by the config file, hence read-only over the API
    flag("builtin"),  # where uploads of a node are kept, out of sight
    moment("created_at"),
    moment("updated_at"),
    moment("last_tested_at"),
    Column("last_test_result", Text),  # success failed
    Column("last_test_error", Text),
)

indexes = sa.Table(
    "indexes",
    metadata,
    identifier(),
    text("name"),
    Column("description", Text),
    flag("declared"),
    flag("is_default"),  # the playground
    moment("created_at"),
)

prompts = sa.Table(
    "prompts",
    metadata,
    identifier(),
    text("name"),
    text("description"),
    text("prompt_text"),
    document("json_schema"),
    document("video_level"),  # {instructions_text, json_schema} or NULL
    document("semantic_indexing"),
    document("execution_config"),  # how its runs treat media where nobody says it
    count("prompt_version", 1),
    flag("is_active", default=True),
    flag("is_default"),
    flag("declared"),
    moment("created_at"),
    moment("updated_at"),
)

# What was deleted, or is about to be: out of sight from the first, gone when the last of its rows is.
deletions = sa.Table(
    "deletions",
    metadata,
    identifier(),
    text("resource"),  # index video
    Column("resource_id", Text, nullable=False, unique=True),
    text("status", "draining"),  # draining deleting deleted
    moment("created_at"),
    moment("completed_at"),
)
Index(
    "deletions_under_way",
    deletions.c.id,
    sqlite_where=deletions.c.status != "deleted",
    postgresql_where=deletions.c.status != "deleted",
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    identifier(),
    text("name"),
    Column("digest", Text, nullable=False, unique=True),  # sha256 of the key
    text("key_prefix"),
    document("scopes"),
    moment("created_at"),
    moment("expires_at"),
    moment("revoked_at"),
    moment("last_used_at"),
)

# Facts about this installation, each under its name.
facts = sa.Table(
    "facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# Who did what, and who was refused. A row stands for one change, or for equal refusals within an hour.
audit = sa.Table(
    "audit",
    metadata,
    identifier(),
    moment("at"),
    moment("last_at"),  # of the last of several refusals
    text("actor"),  # the id of an API key, or config, cli, daemon; empty: unknown
    text("actor_name"),  # the name that the key had then
    text("action"),  # index.deleted, …
    text("outcome", "done"),  # done refused
    text("route"),  # method and template of the path below /api/v2; empty outside the API
    text("resource_id"),
    text("request_id"),
    text("address"),
    count("times", 1),
    document("details"),
)
for _name in ("actor", "action", "resource_id"):
    Index(f"audit_{_name}", audit.c[_name], audit.c.id)
REFUSED: sa.ColumnElement[bool] = audit.c.outcome == sa.literal_column("'refused'")
"""A constant of the statement itself: only then the index of refusals is used."""
Index("audit_refused", audit.c.last_at, sqlite_where=REFUSED, postgresql_where=REFUSED)
