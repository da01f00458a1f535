"""vvwatch: watch folders for object storage."""

from importlib.metadata import version

__version__ = version("vvwatch")
