"""The progress of deleting an index or a media item."""

from __future__ import annotations

from enum import StrEnum


class DeletionStatus(StrEnum):
    """`draining`: accepted, and what is under way is being stopped; `deleting`: rows go; `deleted`: all are gone."""

    DRAINING = "draining"
    DELETING = "deleting"
    DELETED = "deleted"
