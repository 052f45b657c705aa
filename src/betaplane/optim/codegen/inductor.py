"""A recorded pass as torch.compile's code, for parameters that are not on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane.optim.codegen.trace import Recording, record
from betaplane.optim.once import MAKING, once
from betaplane.optim.step.reference import count, fill
from betaplane.optim.step.step_spec import StepSpec, StepValues, fields_of, widest
from betaplane.optim.storage_formats import Rounded
from betaplane.tensors.memory_layout import align_state, copy_in_layout, is_dense

PLAIN = (Tensor, torch.nn.Parameter)


def step_compiled(
    form: StepSpec, p: Tensor, held: dict[str, Any], numbers: StepValues, words: Mapping[str, str]
) -> bool:
    """Step p, if there is code for it: its rule does not look at shapes, and no format needs more
    than a cast.

    Args:
        form: what is done.
        p: with a gradient.
        held: torch's state of p; filled here.
        numbers: learning rate and what else the form takes.
        words: torch's names for the fields of the rule's state, where they differ.
    """
    usual = (
        type(p) in PLAIN and p.is_floating_point() and p.numel() > 0 and p.dim() > 0 and is_dense(p)
    )
    if not usual or form.norms or p.grad is None or p.grad.layout is not torch.strided:
        return False
    fill(form, p, held, words)
    align_state(held, p)
    extras = form.extras(p)
    fields = (*(name for name, like_x in fields_of(form.rule).items() if like_x), *extras)
    tensors = [held[words.get(name, name)] for name in fields]
    formats = [form.weights(p), *(form.kept(p, name, p) for name in fields)]
    if any(kept.scaled or isinstance(kept, Rounded) for kept in formats):
        return False
    recording = record(form, torch.promote_types(widest(p, *tensors), torch.float32), extras)
    if recording is None:
        return False
    single = [held[words.get(name, name)] for name in recording.numbers]
    scalars = recording.scalars(form.rule, [value.cpu() for value in single], numbers)
    g = p.grad if p.grad.stride() == p.stride() else copy_in_layout(p.grad, p)
    with MAKING:  # torch.compile's code refuses to run while another thread traces
        written(recording)([flat(p), flat(g), *map(flat, tensors)], scalars)
    for value, place in zip(single, recording.news, strict=True):
        value.copy_(scalars[place])
    if "t" not in recording.numbers:
        count(held)
    if form.zero:
        p.grad.zero_()
    return True


@once
def written(recording: Recording) -> Callable[[list[Tensor], list[Tensor]], None]:
    """The pass, writing what it computes into its tensors."""

    def step(tensors: list[Tensor], scalars: list[Tensor]) -> None:
        new = recording.graph(*(value.to(recording.dtype) for value in tensors), *scalars)
        for home, value in zip((tensors[0], *tensors[2:]), new, strict=False):
            home.copy_(value)

    return torch.compile(step, dynamic=True, fullgraph=True)


def flat(x: Tensor) -> Tensor:
    """A dense tensor's numbers in the order they lie in memory."""
    return x.view(-1) if x.is_contiguous() else torch.as_strided(x, (x.numel(),), (1,))
