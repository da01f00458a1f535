"""The providers: one entry each. Nothing outside a provider's own folder names it but this file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from vvwatch.core.locations import Address
from vvwatch.providers.azure.provider import AZURE
from vvwatch.providers.bodies import Bodies
from vvwatch.providers.gcs.provider import GCS
from vvwatch.providers.local.provider import LOCAL
from vvwatch.providers.provider import Provider
from vvwatch.providers.s3.provider import S3

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType(
    {each.kind: each for each in (LOCAL, S3, GCS, AZURE)}
)
"""The providers by kind."""
EXAMPLE: Final = S3
"""The provider of the examples in the description of the API."""


def addresses_of(kind: str, location: Mapping[str, Any]) -> tuple[Address, ...]:
    """Return the addresses by which people name the objects of a connector, its own first; none for a folder.

    `location` is the connector row's location. A provider that this vvwatch lacks has no addresses.
    """
    provider = PROVIDERS.get(kind)
    return () if provider is None else tuple(dict.fromkeys(provider.addresses(location)))


def load_bodies() -> Mapping[str, Bodies]:
    """Return the parts that the providers have in the API, by kind."""
    return {kind: each.bodies() for kind, each in PROVIDERS.items() if each.bodies is not None}
