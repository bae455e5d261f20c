"""`python -m dcu` is `dcu`."""

from dcu.cli import main

main()
