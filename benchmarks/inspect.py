"""What `betaplane inspect` says of healthy and sick checkpoints, saved by real runs.

`python -m benchmarks.inspect [SEED [SIZE]]`, about a minute. The checkpoints are those of
`benchmarks.checkpoints`: of torch, of betaplane, and of each library that is installed among
transformers, peft, accelerate, lightning, timm, bitsandbytes, torchao, pytorch_optimizer,
schedulefree and lion_pytorch. Rules and thresholds were chosen with seed 1 and size 1, on two of
three kinds.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.checkpoints.healthy import HEALTHY
from benchmarks.checkpoints.kind import Kind
from benchmarks.checkpoints.libraries import LIBRARIES
from benchmarks.checkpoints.sick import SICK
from betaplane import BadInput
from betaplane.checkpoints import inspect

SEED, SIZE = 7, 2
REFUSED = "damaged"  # the file was refused with a sentence


def main(arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    seed, size = [*map(int, arguments), *(SEED, SIZE)[len(arguments) :]]
    for title, kinds in (("healthy", HEALTHY + LIBRARIES), ("sick", SICK)):
        print(f"{title}, seed {seed}, size {size}")
        counts = Counter(judged(kind, seed + i, size) for i, kind in enumerate(kinds))
        print(f"{title}: {', '.join(f'{n} {name}' for name, n in counts.items())}\n", flush=True)


def judged(kind: Kind, seed: int, size: int) -> str:
    """Make a checkpoint, inspect it, print a line if the report is wrong, and return the outcome."""
    missing = [name for name in kind.needs if importlib.util.find_spec(name) is None]
    if missing:
        return "not run (packages not installed)"
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        rules = severe_rules(kind.make(Path(folder), size))
    if not kind.faults and rules == {REFUSED}:
        return "refused (not an Adam-type state)"
    right = bool(rules & set(kind.faults)) if kind.faults else not rules
    if not right:
        print(f"  wrong: {kind.name}: {', '.join(sorted(rules)) or 'quiet'}", flush=True)
    return ("named" if kind.faults else "quiet") if right else "wrong"


def severe_rules(path: Path) -> set[str]:
    """The ids of the rules that mark a checkpoint with !."""
    try:
        inspection = inspect(path)
    except BadInput:
        return {REFUSED}
    rows = [reason for row in inspection.rows for reason in row.reasons]
    reasons = [*rows, *(finding.reason for finding in inspection.findings)]
    return {reason.rule for reason in reasons if reason.severe}


if __name__ == "__main__":
    main(sys.argv[1:])
