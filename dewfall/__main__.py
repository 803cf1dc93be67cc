"""`python -m dewfall` is the `dewfall` command."""

from dewfall.cli import main

main()
