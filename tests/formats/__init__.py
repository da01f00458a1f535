"""Formats, each held against an independent reader."""
