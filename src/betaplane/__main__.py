"""Run the command line by `python -m betaplane`."""

from betaplane.cli.main import main

main()
