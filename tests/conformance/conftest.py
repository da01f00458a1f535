"""The application over a finished story, as the tests of the API have it."""

from __future__ import annotations

from tests.api.conftest import clock, context, database, settings, storage, story, written

__all__ = ["clock", "context", "database", "settings", "storage", "story", "written"]
