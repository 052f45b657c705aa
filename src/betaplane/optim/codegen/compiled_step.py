"""Call compiled code on lists of tensors: a traced step, and the sum of squares."""

from __future__ import annotations

import ctypes
import os
from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from betaplane.optim.codegen.build import load_library, try_load_library
from betaplane.optim.codegen.c_formats import C_TYPES
from betaplane.optim.codegen.c_source import StepSource, c_template, fill_template, step_source
from betaplane.optim.codegen.trace import TracedStep
from betaplane.optim.once import once
from betaplane.optim.storage_formats import Format
from betaplane.tensors.memory_layout import is_dense

FORKED: list[int] = []  # this process, if it is a fork of one that had loaded compiled code


class CompiledStep:
    """A traced step as machine code, for parameters, gradients and states of certain dtypes."""

    def __init__(self, traced: TracedStep, formats: tuple[Format, ...], source: StepSource) -> None:
        self.traced, self.formats, self.source = traced, formats, source
        # steps of different shapes may have the same code
        self.key = source, formats, traced.tensors, traced.numbers, traced.hoisted_text
        self._call = load_library(source.text, "step").step
        self._call.restype = ctypes.c_double

    def step(
        self,
        pointers: array,
        geometry: array,
        sets: tuple[array, array],
        scalars: array,
    ) -> float:
        """Step a list of parameters in place.

        Args:
            pointers: the addresses of all x, of all g, of each of the traced step's tensors as stored, and of the
                scales; all tensors of one parameter are dense and laid out alike.
            geometry: for each parameter how it is gone over, see `StepSource.geometry`.
            sets: for each parameter the index of its set of scalars, and its seed for stochastic
                rounding.
            scalars: sets of the traced step's scalars, one after the other.

        Returns:
            The squared norm of the update if the spec measures it, else 0.
        """
        count = len(sets[0])
        inputs = [ctypes.c_void_p(a.buffer_info()[0]) for a in (geometry, *sets, pointers, scalars)]
        length = len(scalars) // (1 + max(sets[0]))
        c_int = ctypes.c_int64
        return self._call(c_int(count), *inputs, c_int(length), c_int(num_threads()))


@once
def compile_step(
    traced: TracedStep, formats: tuple[Format, ...], g: torch.dtype, zero: bool
) -> CompiledStep:
    """Compile a traced step.

    Args:
        traced: the step.
        formats: the storage formats of x and of the traced step's tensors.
        g: the gradient's dtype.
        zero: whether the gradient is set to zero.

    Raises:
        NoCompiler: there is no compiler, or it fails.
    """
    return CompiledStep(traced, formats, step_source(traced, formats, g, zero))


def num_threads() -> int:
    """How many threads compiled code may use: torch's number, but one in a fork of a process that
    had loaded it.

    OpenMP's threads do not exist in a fork, which would wait for them forever.
    """
    return 1 if FORKED else torch.get_num_threads()


def _mark_fork() -> None:
    if try_load_library.known:
        FORKED.append(os.getpid())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_fork)


def sum_of_squares(tensors: Sequence[Tensor]) -> float:
    """The sum of the squares of all elements of tensors on the CPU.

    Raises:
        NoCompiler: there is no compiler, or it fails.
    """
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for value in tensors:
        by_dtype.setdefault(value.dtype, []).append(
            value if is_dense(value) else value.contiguous()
        )
    return sum(_sum_of_squares(C_TYPES[dtype], group) for dtype, group in by_dtype.items())


def _sum_of_squares(c_type: str, tensors: list[Tensor]) -> float:
    pointers = array("q", map(Tensor.data_ptr, tensors))
    sizes = array("q", map(Tensor.numel, tensors))
    accumulator = "double" if c_type == "double" else "float"
    load = "of_bf16" if c_type == "uint16_t" else ""
    source = fill_template(c_template("squares"), TYPE=c_type, LOAD=load, SUM=accumulator)
    call = load_library(source, "squares").squares
    call.restype = ctypes.c_double
    addresses = [ctypes.c_void_p(values.buffer_info()[0]) for values in (sizes, pointers)]
    return call(ctypes.c_int64(len(tensors)), *addresses, ctypes.c_int64(num_threads()))
