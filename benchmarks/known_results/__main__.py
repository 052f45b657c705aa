"""Training against closed forms and published figures.

`python -m benchmarks.known_results [counterexample | order | reddi | batch_size ...]` prints tables
that compare the results of training with the closed form or the published figure.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Sequence

import torch

from benchmarks.known_results.batch_size import batch_size_table
from benchmarks.known_results.counterexample import counterexample_table, order_table
from benchmarks.known_results.reddi import reddi_table

TABLES = {
    "counterexample": counterexample_table,
    "order": order_table,
    "reddi": reddi_table,
    "batch_size": batch_size_table,
}


def main(names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in names or TABLES:
        start = time.perf_counter()
        print(inspect.getdoc(TABLES[name]))
        TABLES[name]()
        print(f"({time.perf_counter() - start:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
