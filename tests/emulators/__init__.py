"""Servers that speak the real protocols of object stores, started by the tests on loopback."""
