"""`python -m vsr`."""

from vsr.cli import main

main()
