"""`python -m asyncstore` is the `asyncstore` command."""

from asyncstore.cli import main

main()
