"""The loss of tiny problems on all examples, as generated C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from betaplane.problems.generators import preserve_generators
from betaplane.problems.snapshot import put_back
from betaplane.replicas.scalar_loop import ScalarLoop

if TYPE_CHECKING:
    from betaplane.replicas.stack import Stack
    from betaplane.replicas.stacked import Training


class ScalarValue:
    """The loss on all examples in evaluation mode, of every replica of a stack.

    Raises:
        Unsupported: the loss has an operation, a dtype or a size without C code.
        NoCompiler: there is no C compiler.
    """

    def __init__(self, training: Training) -> None:
        one = training.stack.select(torch.zeros(1, dtype=torch.int64))
        carried = pytree.tree_map(lambda t: t[0], (one.params, one.buffers))
        leaves = pytree.tree_leaves(carried)
        constants = one.constants if one.shared else {n: t[0] for n, t in one.constants.items()}
        x, y = training.inputs, training.targets
        inputs, whole = pytree.tree_flatten((carried, torch.zeros(()), x, y, constants))

        def flat(*leaves: Tensor) -> list[Tensor]:
            (params, buffers), _, x, y, constants = pytree.tree_unflatten(leaves, whole)
            loss = training._loss(params, buffers, constants, x, y)
            return [*pytree.tree_leaves((params, buffers)), loss.double()]

        with put_back(objective=training.objective), preserve_generators(), torch.no_grad():
            training.objective.module.eval()
            self.loop = ScalarLoop(flat, inputs, len(leaves), 0, x, y, constants)

    def __call__(self, stack: Stack, x: Tensor, y: Tensor) -> np.ndarray:
        """The losses, float64 (R,)."""
        leaves = pytree.tree_leaves((stack.params, stack.buffers))
        nothing = torch.zeros(1, len(stack))
        return self.loop.run(leaves, nothing, x, y, torch.zeros(len(stack), 1))[1].numpy()
