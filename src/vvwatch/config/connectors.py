"""The connectors of `vvwatch.toml`: the tables of all providers in the registry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import create_model

from vvwatch.options.tables import Table, TableKind
from vvwatch.providers.local.settings import LocalConnector
from vvwatch.providers.registry import PROVIDERS
from vvwatch.providers.settings import CloudConnector, Connector, StoreDefaults

__all__ = ["AnyConnector", "CloudConnector", "Connector", "LocalConnector", "StorageDefaults"]

Connector.kinds.update({kind: each.table for kind, each in PROVIDERS.items()})


class _Defaults(Table):
    """What connectors have that do not say otherwise, those made over the API among them."""

    def of(self, kind: str) -> StoreDefaults | None:
        """Return the defaults of a provider; None if it has none."""
        found: StoreDefaults | None = getattr(self, kind, None)
        return found

    def items(self) -> Iterator[tuple[str, StoreDefaults]]:
        """List the kinds of providers that have defaults, with them."""
        return ((kind, getattr(self, kind)) for kind in type(self).model_fields)


if TYPE_CHECKING:
    AnyConnector = Connector
    StorageDefaults = _Defaults
else:

    class AnyConnector(Connector):
        """A connector of any type."""

        kinds: ClassVar[dict[str, TableKind]] = Connector.kinds

        type: Literal[tuple(PROVIDERS)] = "local"

    StorageDefaults = create_model(
        "StorageDefaults",
        __base__=_Defaults,
        **{
            kind: (each.defaults, each.defaults())
            for kind, each in PROVIDERS.items()
            if each.defaults is not None
        },
    )
