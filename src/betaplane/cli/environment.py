"""Variables of the environment that the command line sets before torch and typer are imported."""

import os

# one thread per process, since worker processes use all cores
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
PLAIN_HELP = {"TYPER_USE_RICH": "0"}  # plain help text, at half the start-up time

# names of those that the user had not set; a command of the user's own runs without them
ADDED = [name for name in {**THREADS, **PLAIN_HELP} if name not in os.environ]
for _name, _value in {**THREADS, **PLAIN_HELP}.items():
    os.environ.setdefault(_name, _value)
