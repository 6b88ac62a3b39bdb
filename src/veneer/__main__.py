"""`python -m veneer` is the `veneer` command."""

from veneer.cli.main import main

main()
