"""The table of folders in `vvwatch.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from vvwatch.options.fields import AbsolutePath, NodeName
from vvwatch.providers.settings import Connector


class LocalConnector(Connector):
    """A folder. Of the nodes that share a database each reaches a `shared` one, at the same path, and `node` alone
    its own.
    """

    required = ("type", "path")

    type: Literal["local"] = "local"
    path: AbsolutePath = Path()
    shared: bool = False
    node: NodeName | None = None

    @property
    def location(self) -> dict[str, Any]:
        """Where the objects are, as the database keeps it."""
        return {"root": str(self.path)} | ({"shared": True} if self.shared else {})
