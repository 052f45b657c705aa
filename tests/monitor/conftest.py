"""The zoo's kin and its measures are in benchmarks, which these tests use."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
