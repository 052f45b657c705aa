"""What is measured here is printed by `python -m benchmarks.truth`; the tests use its functions."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
