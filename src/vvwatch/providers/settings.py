"""The tables of connectors in `vvwatch.toml`, and option types that several providers need.

Names become part of a host name or an address, so each type accepts exactly what its store allows. No message repeats
the value, which may be a misplaced secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from vvwatch.core.durations import parse_duration
from vvwatch.core.exports import check_subpath
from vvwatch.errors import InvalidInput
from vvwatch.options.fields import (
    AbsolutePath,
    Duration,
    Endpoint,
    List,
    Pause,
    Proxy,
    match_pattern,
    refuse,
)
from vvwatch.options.findings import Finding
from vvwatch.options.secrets import Why, check_secret, secret_keys
from vvwatch.options.tables import ImportMode, Scope, Table, TableKind, TypedTable

SERVICE: Final = r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?"
"""The pattern of a service's address, up to its path."""
LEAVE_OUT: Final = "leave out {}; what follows the name goes into the prefix of an automation"
"""The hint for an address in place of a name."""


def is_no_number(text: str) -> bool:
    """Return whether a name with dots is not an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return ".." not in text
    return False


def _base_path(text: str) -> str:
    try:
        return check_subpath(text, "the path")
    except InvalidInput as error:
        allowed = "a path below it, without .. and a slash at its beginning, e.g. exports"
        raise refuse("does not stay below the connector's location", allowed) from error


Ambient = Annotated[str, match_pattern("ambient", "is no way of giving credentials", '"ambient"')]
"""The machine's own identity."""
ExportBasePath = Annotated[str, AfterValidator(_base_path)]
"""A path for exports, without empty and `.` segments; empty: the location itself."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way of giving credentials: `plain` keys of the table, and `secrets`, each in a file or a variable.

    A secret called x is given by x_file or x_env, where the table has that key; `why` says what is wrong with one. The
    only secret of a `whole` way is stored as it is, not as one of several parts.
    """

    plain: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    why: Callable[[str], Why] = check_secret
    whole: bool = False

    @property
    def keys(self) -> list[str]:
        """All keys by which credentials are given in this way."""
        return [*self.plain, *(key for secret in self.all_secrets for key in secret_keys(secret))]

    @property
    def all_secrets(self) -> tuple[str, ...]:
        """The names of the secrets, required ones first."""
        return (*self.secrets, *self.optional)


class Events(Table):
    """The queue that receives a store's changes, and how far it is trusted."""

    required: ClassVar[tuple[str, ...]] = ("queue",)

    queue: str = ""
    mode: Literal["exclusive", "shared"] = "exclusive"
    sweep_interval: Duration = "1h"
    late_after: Pause = "60s"

    @property
    def document(self) -> dict[str, Any]:
        """As the database keeps it."""
        return {
            "queue": self.queue,
            "mode": self.mode,
            "sweep_seconds": parse_duration(self.sweep_interval),
            "late_seconds": parse_duration(self.late_after),
        }


class StoreDefaults(Table):
    """What connectors of a provider have that do not say otherwise."""

    endpoint_url: Endpoint | None = None


class Connector(TypedTable):
    """A location of objects; the other keys are those of its type."""

    kinds: ClassVar[dict[str, TableKind]] = {}
    ways: ClassVar[tuple[Way, ...]] = ()

    type: str = "local"
    scopes: Annotated[tuple[Scope, ...], List, Field(min_length=1)] = ("import",)
    import_mode: ImportMode = "all"
    export_base_path: ExportBasePath | None = None

    @property
    def location(self) -> dict[str, Any]:
        """Where the objects are, as the database keeps it."""
        return {}

    @classmethod
    def needs_no_credentials(cls, endpoint_url: str) -> bool:  # noqa: ARG003  # a folder has no endpoint
        """Return whether the location, at `endpoint_url` if it has one, is reached without credentials."""
        return True


class CloudConnector(Connector):
    """What the object stores have in common."""

    credentials: Ambient | None = None
    endpoint_url: Endpoint | None = None
    ca_file: AbsolutePath | None = None
    proxy: Proxy | None = None
    events: Events | None = None

    @property
    def location(self) -> dict[str, Any]:
        """Where the objects are, as the database keeps it: what was given, without credentials."""
        other = {"credentials", "events", *(key for way in self.ways for key in way.keys)}
        names = sorted(type(self).model_fields.keys() - Connector.model_fields.keys() - other)
        given = {name: value for name in names if (value := getattr(self, name))}
        paths = {name: str(value) for name, value in given.items() if isinstance(value, Path)}
        return {**given, **paths} | ({"ambient": True} if self.credentials else {})

    @classmethod
    def needs_no_credentials(cls, endpoint_url: str) -> bool:  # noqa: ARG003  # most stores need some everywhere
        """Return whether the store at `endpoint_url` is asked without credentials."""
        return False

    def find_faults(self, endpoint_url: str) -> Iterator[Finding]:  # noqa: ARG002  # as above
        """Yield the faults of sound keys that do not fit together, at keys of this table; it uses `endpoint_url`."""
        yield from ()
