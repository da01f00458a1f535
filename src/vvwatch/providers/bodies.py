"""The API's request bodies of connectors. Secrets are write-only; neither responses nor errors repeat them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, SecretStr

from vvwatch.options.bodies import Body, Visible
from vvwatch.options.fields import refuse
from vvwatch.options.secrets import check_secret
from vvwatch.options.tables import ImportMode, Scope
from vvwatch.providers.settings import ExportBasePath

MAX_FILE_BYTES: Final = 65_536
"""The maximum size of a credentials file."""
_MAX_SECONDS: Final = 366 * 86_400.0

Name = Annotated[str, Field(min_length=1, max_length=100), Visible]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=2)]
BasePath = Annotated[ExportBasePath, Field(max_length=1024)]
Seconds = Annotated[float, Field(ge=1, le=_MAX_SECONDS)]


def _check_secret(secret: SecretStr) -> SecretStr:
    if why := check_secret(secret.get_secret_value()):
        raise refuse(*why)
    return secret


Key = Annotated[SecretStr, AfterValidator(_check_secret)]
KeyFile = Annotated[SecretStr, Field(min_length=1, max_length=MAX_FILE_BYTES)]


def import_only() -> list[Scope]:
    """Return the scopes of a connector whose body names none."""
    return ["import"]


class EventsBody(Body):
    """`exclusive`: no one else reads the queue, and irrelevant messages are deleted; `shared`: they are left to others.
    While the queue works, a full scan runs every `sweep_seconds`; an object that it finds counts as missed after
    `late_seconds`.
    """

    queue: Annotated[str, Field(min_length=1, max_length=1024)]
    mode: Literal["exclusive", "shared"] = "exclusive"
    sweep_seconds: Seconds = 3600.0
    late_seconds: Annotated[float, Field(ge=0, le=_MAX_SECONDS)] = 60.0


class ConnectorBody(Body):
    """A body that may hold credentials."""

    model_config = ConfigDict(hide_input_in_errors=True)

    secrets: ClassVar[Mapping[str, str]] = {}
    """Each field of credentials, and its name in the stored document; empty: the field is the whole document."""


class NewConnector(ConnectorBody):
    """Fields of every new connector."""

    name: Name
    scopes: Scopes = Field(default_factory=import_only)
    import_mode: ImportMode = "all"
    export_base_path: BasePath | None = None


class NewCloudConnector(NewConnector):
    """Fields of every new connector of an object store."""

    place: ClassVar[Mapping[str, str]] = {}
    """Each field of the location, in requests and responses, and its key in the stored location."""
    media_type: ClassVar[str] = "application/json"

    events: EventsBody | None = None

    def location(self) -> dict[str, Any]:
        """Return the location as the database stores it."""
        return {key: getattr(self, field) for field, key in self.place.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """A provider in the API.

    `new` is the body of its POST, which makes a connector for `what`, with an `example`. `changes` has its fields of
    credentials in the PATCH of a connector, which `credentials` explains. `values` are examples of fields by name.
    """

    new: type[NewCloudConnector]
    what: str
    changes: type[ConnectorBody]
    credentials: str
    example: Mapping[str, Any]
    values: Mapping[str, Any]
