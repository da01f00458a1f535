"""The files that people take away: one writer a format, from the results of media items to bytes.

A format is pure: equal items give equal bytes. `registry.py` names them all.
"""

from vvwatch.formats.items import ExportedItem, Format, NotApplicable, Scope, Timing

__all__ = ["ExportedItem", "Format", "NotApplicable", "Scope", "Timing"]
