"""vvwatch: watch folders for object storage."""

__version__ = "0.1.0"
