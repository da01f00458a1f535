"""Folders as a provider."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from vvwatch.providers.local.settings import LocalConnector
from vvwatch.providers.provider import Access, Provider

if TYPE_CHECKING:
    from vvwatch.ports import Storage
    from vvwatch.providers.spool import Spool


def _open_storage(access: Access, _spool: Spool, roots: tuple[Path, ...]) -> Storage:
    from vvwatch.providers.local.storage import LocalStorage  # noqa: PLC0415  # only what is asked for

    return LocalStorage(Path(access.location["root"]), allowed_roots=roots)


LOCAL: Final = Provider(
    kind="local",
    uri="file:///path",
    table=LocalConnector,
    addresses=lambda _location: (),
    open_storage=_open_storage,
)
"""Folders of this machine, and mounted ones."""
