"""The daemon: one task group that starts, serves, reloads, drains and stops."""

from vvwatch.daemon.lifecycle import ServeOptions, serve

__all__ = ["ServeOptions", "serve"]
