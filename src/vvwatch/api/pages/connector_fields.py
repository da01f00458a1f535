"""The inputs of connectors, which follow from what the providers declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from vvwatch.api.pages.forms import Field, build_body
from vvwatch.api.routes.connector_bodies import BODIES, Connector
from vvwatch.providers.bodies import Bodies

LOCAL: Final = "local"
KINDS: Final[Mapping[str, str]] = {LOCAL: "a folder", **{kind: each.what for kind, each in BODIES.items()}}
"""Each kind of connector, and what it reaches."""

_SCOPES: Final = Field(
    "scopes",
    "Used for",
    "set",
    choices=(("import", "import from it"), ("export", "export to it")),
)
_IMPORT_MODE: Final = Field(
    "import_mode",
    "What imports take",
    "select",
    choices=(("all", "all files, and changed ones again"), ("new_only", "new files only")),
)
_BASE_PATH: Final = Field("export_base_path", "Folder for exports", hint="empty: the location itself")
_QUEUE: Final = Field("events.queue", "Queue of change events", hint="empty: changes are found by listing")
_STATUS: Final = Field(
    "status",
    "State",
    "select",
    choices=(("", "as it is"), ("active", "active"), ("disabled", "disabled: its automations wait")),
)


def list_new_fields(kind: str) -> list[Field]:
    """Return the inputs for a new connector of this kind."""
    head = [Field("name", "Name", required=True)]
    tail = [_SCOPES, _IMPORT_MODE, _BASE_PATH]
    if kind == LOCAL:
        path = Field("path", "Folder", hint="an absolute path below [local] roots", required=True)
        return [*head, path, Field("shared", "Every node mounts it at this path", "checkbox"), *tail]
    new = BODIES[kind].new
    place = [_to_field(new.model_fields, name) for name in new.place]
    return [*head, *place, *_list_secrets(new.model_fields, new.secrets, required=True), *tail, _QUEUE]


def list_change_fields(kind: str) -> list[Field]:
    """Return the inputs that change a connector of this kind; empty secrets stay as they are."""
    found: Bodies | None = BODIES.get(kind)
    fields = [Field("name", "Name", required=True), _SCOPES, _IMPORT_MODE, _BASE_PATH, _STATUS]
    if found is None:
        return fields
    return [
        *fields,
        _QUEUE,
        *_list_secrets(found.changes.model_fields, found.changes.secrets, required=False),
    ]


def pick_changes(fields: Sequence[Field], values: Mapping[str, str], found: Connector) -> dict[str, Any]:
    """Return the body of a PATCH: what differs from the connector; secrets only if they were typed."""
    body = build_body(fields, values)
    now = found.model_dump()
    changes = {
        name: value
        for name, value in body.items()
        if name != "events" and (name not in now or now[name] != value)
    }
    if "export_base_path" not in body and found.export_base_path:
        changes["export_base_path"] = None
    queue, current = body.get("events", {}).get("queue"), found.events.queue if found.events else None
    if queue != current and any(field.name == _QUEUE.name for field in fields):
        changes["events"] = None if queue is None else {"queue": queue}
    return changes


def describe_place(found: Connector) -> str:
    """Return where a connector leads to, as people write it."""
    document = found.model_dump()
    body = BODIES.get(found.provider)
    names = ("path",) if body is None else tuple(body.new.place)
    return " ".join(str(document[name]) for name in names if document.get(name))


def _list_secrets(known: Mapping[str, Any], names: Mapping[str, str], *, required: bool) -> Iterator[Field]:
    hint = "" if required else "empty: as it is"
    for name, stored in names.items():
        kind = "password" if stored else "secret"  # without a name of its own it is a whole document
        yield Field(name, _to_label(name), kind, hint or _hint_of(known, name), required)  # type: ignore[arg-type]


def _to_field(known: Mapping[str, Any], name: str) -> Field:
    return Field(name, _to_label(name), hint=_hint_of(known, name), required=known[name].is_required())


def _hint_of(known: Mapping[str, Any], name: str) -> str:
    return str(known[name].description or "")


def _to_label(name: str) -> str:
    return name.replace("_", " ").capitalize()
