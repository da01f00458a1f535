"""How far the deletion of an index or a media item has come."""

from __future__ import annotations

from enum import StrEnum


class DeletionStatus(StrEnum):
    """`draining`: accepted, and what is under way is being stopped; `deleting`: rows go; `deleted`: all are gone."""

    DRAINING = "draining"
    DELETING = "deleting"
    DELETED = "deleted"
