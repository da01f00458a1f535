"""Reads untrusted media in confined processes."""
