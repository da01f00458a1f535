"""Connectors in requests and responses, put together from what the providers declare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, create_model

from vvwatch.api.http.wire import Resource
from vvwatch.api.routes.connector_events import Events, to_events
from vvwatch.options.tables import ImportMode
from vvwatch.providers.bodies import (
    BasePath,
    ConnectorBody,
    EventsBody,
    Name,
    NewConnector,
    Scopes,
    import_only,
)
from vvwatch.providers.registry import load_bodies
from vvwatch.store.models.catalog import Connector as ConnectorRow

BODIES: Final = load_bodies()
"""Each provider's part of the API, by kind."""

CREDENTIALS: Final = {
    field: (kind, name) for kind, each in BODIES.items() for field, name in each.changes.secrets.items()
}
"""The credential fields of changes: their provider and their name in the sealed document, empty for all of it."""


class LocalConnectorBody(NewConnector):
    """A new connector for a local folder below one of the roots in the configuration.

    `shared`: every node mounts the folder at this path. Otherwise it belongs to the node that gets the request.
    """

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    shared: bool = False


class _Changes(ConnectorBody):
    name: Name = Field(default_factory=str)
    scopes: Scopes = Field(default_factory=import_only)
    import_mode: ImportMode = Field(default_factory=lambda: "all")
    export_base_path: BasePath | None = None
    status: Literal["active", "disabled"] = Field(default_factory=lambda: "active")
    events: EventsBody | None = None

    def to_changes(self) -> dict[str, Any]:
        """Return the fields that were sent, except credentials."""
        return self.model_dump(include=self.model_fields_set - set(CREDENTIALS))


_CHANGES_TEXT: Final = f"""\
What to change; missing fields keep their values. The location cannot change: create another connector.

`export_base_path` null or empty: the location itself. `status`: `disabled` stops the connector, and its automations
wait; `active` enables it again. Credentials are write-only, and each connector accepts those of its provider:
{"; ".join(each.credentials for each in BODIES.values())}.
New credentials, scopes, an export path and `active` are tested as by `/test`. `events` null: stop reading the queue.
"""

if TYPE_CHECKING:
    ConnectorChanges = _Changes
else:
    ConnectorChanges = create_model(
        "ConnectorChanges",
        __base__=(*reversed([each.changes for each in BODIES.values()]), _Changes),
        __module__=__name__,
        __doc__=_CHANGES_TEXT,
    )


def secrets_in(body: ConnectorChanges, provider: str) -> dict[str, str]:
    """Return the credentials of a provider that were sent, in clear, under their sealed names."""
    return {
        name: reveal(getattr(body, field))
        for field, (owner, name) in CREDENTIALS.items()
        if owner == provider and field in body.model_fields_set
    }


def reveal(value: str | SecretStr) -> str:
    """Return a credential in clear."""
    return value if isinstance(value, str) else value.get_secret_value()


_PLACES: Final = {
    "path": "root",
    **{field: key for each in BODIES.values() for field, key in each.new.place.items()},
}
"""Each field of a location in responses, and its key in the stored location."""


class _Head(Resource):
    connector_id: str
    name: str
    provider: str
    status: str
    scopes: list[str]
    import_mode: str
    export_base_path: str | None


if TYPE_CHECKING:
    _Place = _Head
else:
    _Place = create_model("_Place", __base__=_Head, **dict.fromkeys(_PLACES, (str | None, ...)))


class Connector(_Place):
    """A connector. Credentials are never shown; fields of other providers are null.

    `node` names the only node that reaches it, null if all do. `events` is the event queue, null if only listings find
    changes.
    """

    node: str | None
    events: Events | None
    declared: bool
    created_at: str | None
    updated_at: str | None
    last_tested_at: str | None
    last_test_result: str | None
    last_test_error: str | None


def to_response(row: ConnectorRow) -> Connector:
    """Return the connector as a response."""
    place = row.settings
    return Connector.of(
        row,
        connector_id=row.id,
        **{field: place.get(key) for field, key in _PLACES.items()},
        node=row.node or None,
        events=to_events(row.events),
    )
