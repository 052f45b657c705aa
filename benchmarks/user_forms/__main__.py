"""Run the comparison: see `benchmarks.user_forms`."""

import sys

from benchmarks.user_forms import main

main(sys.argv[1:])
