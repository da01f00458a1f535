"""What vvwatch knows of a provider: one `Provider` in each folder, all of them in `providers/registry.py`.

A `Provider` names its tables, bodies and openers. Importing one is cheap: openers import their clients when called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from vvwatch.core.locations import Address
from vvwatch.errors import InvalidInput
from vvwatch.extras import install_command
from vvwatch.ports import EventQueue, Storage
from vvwatch.providers.settings import Connector, StoreDefaults
from vvwatch.providers.spool import Spool

if TYPE_CHECKING:
    from vvwatch.providers.bodies import Bodies

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Access:
    """What a client needs: a stored location, and the credentials in clear, None for the machine's identity."""

    location: Mapping[str, Any]
    credentials: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """The event queues of a provider.

    `name` is the type of a queue's name or URL, `example` shows one, `what` says what it is. `hosts` matches the
    provider's own hosts of queues, None if a name contains no host. `open` may raise InvalidInput for an impossible
    queue.
    """

    name: Any
    example: str
    what: str
    hosts: re.Pattern[str] | None = None
    open: Callable[[Mapping[str, Any], Access], EventQueue]


class CredentialsCheck(Protocol):
    """Checks credentials as far as possible without a network."""

    def __call__(self, text: str, *, any_host: bool = False, host: str = "") -> str:
        """Return the credentials in `text`, reduced to what is needed.

        They may sign in at the provider, at `host` and, with `any_host`, anywhere. Raises InvalidInput, which repeats
        nothing of them.
        """
        ...


def keep_credentials(text: str, *, any_host: bool = False, host: str = "") -> str:  # noqa: ARG001  # as its protocol
    """Return `text`: nothing can be wrong with it here."""
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A kind of store.

    `kind` is its `type` in `vvwatch.toml`, its extra and its name in the API. `uri` shows how people name an object.
    `table` and `defaults` are its tables in the file. `addresses` returns how people address the objects at a stored
    location, its own address first. `listed_at_once` is the most objects that one request lists, None for a store that
    is listed without requests. `open_storage` gets the roots below which a folder may be. `bodies` loads its part of
    the API, None for folders, which have a route of their own. `credentials_key` is the key of the table that
    `check_credentials` blames.
    """

    kind: str
    uri: str
    table: type[Connector]
    defaults: type[StoreDefaults] | None = None
    addresses: Callable[[Mapping[str, Any]], tuple[Address, ...]]
    listed_at_once: int | None = None
    open_storage: Callable[[Access, Spool, tuple[Path, ...]], Storage]
    queues: Queues | None = None
    bodies: Callable[[], Bodies] | None = None
    check_credentials: CredentialsCheck = keep_credentials
    credentials_key: str = ""


def pick(kind: type[_T], location: Mapping[str, Any]) -> _T:
    """Return the dataclass `kind` with those of its fields that a stored location has."""
    names = (field.name for field in fields(kind))  # type: ignore[arg-type]  # a dataclass
    return kind(**{name: location[name] for name in names if name in location})


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Guard the opening of a provider. Raises InvalidInput, with the install command, if a package is missing."""
    try:
        yield
    except ImportError as error:
        raise InvalidInput(
            f"a connector of the type {extra} needs the package {error.name}",
            install_command(extra),
        ) from error
