"""A loop over steps and replicas in generated C, around one step on tensors of a few elements."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from betaplane.optim.codegen.build import load_library
from betaplane.replicas.scalar_code import C_TYPES, CodeWriter, Unsupported, aten

# written as simpler operations, which have C code
DECOMPOSED = get_decompositions(
    [
        aten.addmm, aten.addmv, aten.mse_loss, aten.mse_loss_backward, aten.tanh_backward,
        aten.threshold_backward,
    ]
)  # fmt: skip
POINTER = ctypes.POINTER(ctypes.c_double)
TEMPLATE = """
#include <math.h>
#include <stdint.h>

void run(int64_t replicas, int64_t steps, const double *lrs, const double *x, const double *y,
         const double *hyper, const double *constants, double *carried, double *total) {{
  for (int64_t r = 0; r < replicas; r++) {{
    double *c = carried + r * {carried}, sum = 0;
    const double *h = hyper + r * {hyper};
{load}
    for (int64_t t = 0; t < steps; t++) {{
      const double *xt = x + t * {x}, *yt = y + t * {y};
      const double *lr = lrs + t * replicas + r;
{body}
    }}
{store}
    total[r] = sum;
  }}
}}
"""


class ScalarLoop:
    """The compiled step of one replica.

    Args:
        step: a function of tensors: those carried from step to step, hyperparameters (float64
            scalars), a learning rate, x, y and constants. It returns the carried ones after the
            step, and a loss in float64.
        inputs: its arguments, of which the code takes shapes and dtypes.
        carried: number of carried tensors.
        hyper: number of hyperparameters.
        x: inputs of a minibatch.
        y: targets of a minibatch.
        constants: the last arguments, by name, the same for all replicas.

    Raises:
        Unsupported: the step has an operation, a dtype or a size without C code.
        NoCompiler: there is no C compiler.
    """

    def __init__(
        self,
        step: Callable[..., list[Tensor]],
        inputs: Sequence[Tensor],
        carried: int,
        hyper: int,
        x: Tensor,
        y: Tensor,
        constants: Mapping[str, Tensor],
    ) -> None:
        table: Any = DECOMPOSED
        try:
            graph = make_fx(step, table, tracing_mode="fake")(*inputs)
        except Exception as error:  # the stacked engine reports what torch cannot record
            raise Unsupported(str(error)) from error
        self.constants = _doubles(list(constants.values()))
        self.text = _source(graph, inputs, carried, hyper, x, y)
        self.function = load_library(self.text, "run").run
        self.function.restype = None

    def run(
        self, leaves: Sequence[Tensor], lrs: Tensor, x: Tensor, y: Tensor, hyper: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """Take the steps of all replicas.

        Args:
            leaves: the carried tensors, each (R, ...).
            lrs: learning rates, (steps, R).
            x: inputs of the minibatches, (steps, ...).
            y: their targets.
            hyper: hyperparameters, float64 (R, hyper + 1); the last column is not used.

        Returns:
            The carried tensors after the steps, and the sums of the losses, float64 (R,).
        """
        replicas, steps = len(hyper), len(lrs)
        carried = torch.cat([leaf.reshape(replicas, -1).double() for leaf in leaves], dim=1)
        total = torch.zeros(replicas, dtype=torch.float64)
        inputs = [t.double().contiguous() for t in (lrs, x, y, hyper, self.constants)]
        pointers = [ctypes.cast(t.data_ptr(), POINTER) for t in (*inputs, carried, total)]
        self.function(ctypes.c_int64(replicas), ctypes.c_int64(steps), *pointers)
        columns = carried.split([leaf[0].numel() for leaf in leaves], dim=1)
        new = [
            column.to(leaf.dtype).reshape(leaf.shape)
            for column, leaf in zip(columns, leaves, strict=True)
        ]
        return new, total


def _doubles(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([torch.zeros(1), *(t.detach().reshape(-1) for t in tensors)]).double()


def _source(
    graph: Any, inputs: Sequence[Tensor], carried: int, hyper: int, x: Tensor, y: Tensor
) -> str:
    """The C program: the first inputs are carried from step to step, then come hyperparameters."""
    arrays = _input_arrays(inputs, carried, hyper)
    writer = CodeWriter(arrays)
    *new, loss = [text for array in writer.write(graph.graph) for text in array.ravel()]
    names = [name for array in arrays[:carried] for name in array.ravel()]
    kinds = [C_TYPES[t.dtype] for t in inputs[:carried] for _ in range(t.numel())]
    load = [
        f"{kind} {n} = ({kind})c[{i}];"
        for i, (kind, n) in enumerate(zip(kinds, names, strict=True))
    ]
    store = [f"c[{i}] = {name};" for i, name in enumerate(names)]
    body = [*writer.lines, f"sum += {loss};"]
    body += [f"const double n{i} = {text};" for i, text in enumerate(new)]
    body += [f"{name} = n{i};" for i, name in enumerate(names)]
    return TEMPLATE.format(
        carried=len(names),
        hyper=hyper + 1,
        x=x.numel(),
        y=y.numel(),
        load=_indented(load, 4),
        store=_indented(store, 4),
        body=_indented(body, 6),
    )


def _input_arrays(inputs: Sequence[Tensor], carried: int, hyper: int) -> list[np.ndarray]:
    """The C expressions of the elements of each input, in its shape."""
    pointers = ["c"] * carried + ["h"] * hyper + ["lr", "xt", "yt"]
    pointers += ["constants"] * (len(inputs) - len(pointers))
    used = Counter(constants=1)  # the first of `constants` is padding
    arrays = []
    for pointer, tensor in zip(pointers, inputs, strict=True):
        if tensor.dtype not in C_TYPES:
            raise Unsupported(str(tensor.dtype))
        places = range(used[pointer], used[pointer] + tensor.numel())
        text = "c{0}" if pointer == "c" else f"(({C_TYPES[tensor.dtype]}){pointer}[{{0}}])"
        texts = np.array([text.format(place) for place in places], dtype=object)
        arrays.append(texts.reshape(tuple(tensor.shape)))
        used[pointer] += tensor.numel()
    return arrays


def _indented(lines: Sequence[str], spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in lines)
