"""`python -m vvwatch` is `vvwatch`."""

from vvwatch.cli import main

main()
