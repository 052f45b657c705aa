"""Which of torch's fused kernels were checked against its loops, and so are taken by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

WIDE = frozenset({torch.float32, torch.float64})

CHECKED: Mapping[tuple[str, str], frozenset[torch.dtype]] = {  # (torch's class, device) -> dtypes
    ("SGD", "cpu"): WIDE,
    ("Adagrad", "cpu"): WIDE | {torch.bfloat16},
    ("Adam", "cpu"): WIDE | {torch.bfloat16},
    ("AdamW", "cpu"): WIDE | {torch.bfloat16},
    ("SGD", "cuda"): WIDE,
    ("Adam", "cuda"): WIDE,
    ("AdamW", "cuda"): WIDE,
}
"""The rows that agree with the loop at every option, also at gradients that are huge, subnormal, inf or nan.

Not listed: float16, in which squares underflow in the loops and not in the kernels, and what WRONG has. `amsgrad` is
in no row: torch's kernel loses nan in the maximum of the last elements of a tensor.
"""

WRONG: Mapping[tuple[str, str], frozenset[torch.dtype]] = {
    # torch 2.13: parameters do not move
    ("SGD", "cpu"): frozenset({torch.bfloat16, torch.float16}),
}
"""The rows whose results are wrong: never taken, even if `fused` is True."""


def takes_kernel(kind: str, group: Mapping[str, Any], p: Tensor) -> bool:
    """Whether torch's fused kernel may step p.

    Args:
        kind: the name of torch's class.
        group: p's group.
        p: a parameter.

    Example:
        >>> p = torch.zeros(2)
        >>> takes_kernel("SGD", {}, p), takes_kernel("SGD", {"fused": True}, p.bfloat16())
        (True, False)
    """
    row = kind, p.device.type
    if group.get("fused"):
        return p.dtype not in WRONG.get(row, ())
    return p.dtype in CHECKED.get(row, ()) and not group.get("amsgrad")
