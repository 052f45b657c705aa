"""Machine code over a whole list of parameters in one call: what was looked up once is only checked
again.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import is_
from typing import Any

import torch
from torch import Tensor

from betaplane.optim.codegen.build import Native, native
from betaplane.optim.codegen.c_expressions import spoken
from betaplane.optim.codegen.c_source import WORD
from betaplane.optim.codegen.trace import record
from betaplane.optim.step.reference import STATE, fill
from betaplane.optim.step.step_spec import StepSpec, StepValues, fields_of, widest
from betaplane.optim.storage_formats import SCALE, Dynamic, Format, row
from betaplane.rules import Rule
from betaplane.tensors.memory_layout import align_state, copy_in_layout, is_dense

PLAIN = (Tensor, torch.nn.Parameter)  # whose memory is their own


class MultiTensorStep:
    """The lists that machine code takes, for parameters of one kind.

    The numbers of their states (steps) are places in one tensor each, so that all are counted at once.
    """

    def __init__(
        self,
        code: Native,
        params: list[Tensor],
        states: Mapping[Tensor, Any],
        words: Mapping[str, str],
    ):
        self.code, self.params, self.held = code, params, [states[p] for p in params]
        own = [words.get(name, name) for name in code.recording.tensors]
        scales = [
            word + SCALE for word, kept in zip(own, code.formats[1:], strict=True) if kept.scaled
        ]
        self.numbers = [words.get(name, name) for name in code.recording.numbers]
        self.counts = {
            word: self._gathered(word) for word in dict.fromkeys([*self.numbers, "step"])
        }
        self.kept = {
            word: [held[word] for held in self.held] for word in (*own, *scales, *self.counts)
        }
        self.tensors = [self.kept[word] for word in (*own, *scales)]
        self.layout = _layout(params)
        self.plain = all(map(Tensor.is_contiguous, params))
        rows = [row(p.shape) if code.blocks else p.numel() for p in params]
        self.places = array("q", map(Tensor.numel, params)), array("q", rows)

    def _gathered(self, word: str) -> Tensor:
        """A number of every state as places in one tensor, put into the states."""
        together = torch.stack([torch.as_tensor(held.get(word, 0.0)) for held in self.held])
        for held, place in zip(self.held, together.unbind(), strict=True):
            held[word] = place
        return together

    def fits(self, states: Mapping[Tensor, dict[str, Any]]) -> bool:
        """Whether neither parameters, gradients nor states were exchanged for others, or laid out
        anew.
        """
        same = (
            all(map(is_, map(states.get, self.params), self.held))
            and _layout(self.params) == self.layout
        )
        return same and all(
            all(map(is_, [held.get(word) for held in self.held], known))
            for word, known in self.kept.items()
        )

    def step(self, rule: Rule, numbers: StepValues) -> float:
        """One step of all; the squared length of their updates, where that is measured."""
        given: list[Any] = [p.grad for p in self.params]
        gradients = given
        if not (self.plain and all(map(Tensor.is_contiguous, given))):
            gradients = [
                g if g.stride() == p.stride() else copy_in_layout(g, p)
                for p, g in zip(self.params, given, strict=True)
            ]
        scalars, sets = self._scalars(rule, numbers)
        moved = sum(
            self.code.step([self.params, gradients, *self.tensors], self.places, sets, scalars)
        )
        for g, used in (
            zip(given, gradients, strict=True) if self.code.zero and gradients is not given else ()
        ):
            if used is not g:
                g.zero_()
        return moved

    def _scalars(self, rule: Rule, numbers: StepValues) -> tuple[array, tuple[array, array]]:
        """A set for each state of the numbers there is; each parameter's set and seed. The numbers
        go on by a step.
        """
        steps, recording = self.counts["step"], self.code.recording
        seeds = array("q", steps.long().tolist())
        columns = [self.counts[word] for word in self.numbers]
        rows = list(zip(*(column.tolist() for column in columns), strict=True)) or [()] * len(
            self.params
        )
        sets = {one: i for i, one in enumerate(dict.fromkeys(rows))}
        found = []
        for one in sets:
            held = [
                torch.tensor(value, dtype=column.dtype)
                for value, column in zip(one, columns, strict=True)
            ]
            found.append([float(value) for value in recording.scalars(rule, held, numbers)])
        places = array("q", map(sets.__getitem__, rows))
        for column, new in zip(columns, recording.news, strict=True):
            column.copy_(torch.tensor([found[place][new] for place in places], dtype=torch.float64))
        if "step" not in self.numbers:
            steps.add_(1)
        return array("d", chain.from_iterable(found)), (places, seeds)


def _layout(params: list[Tensor]) -> list[Any]:
    """What machine code relies on, as one list."""
    gradients: list[Any] = [p.grad for p in params]
    if any(g is None for g in gradients):
        return []
    kinds = [(p.dtype, g.dtype, g.layout) for p, g in zip(params, gradients, strict=True)]
    strides = [p.is_contiguous() or p.stride() for p in params]
    return [*map(Tensor.numel, params), *map(Tensor.numel, gradients), *kinds, *strides]


def swept(
    form: StepSpec,
    params: Sequence[Tensor],
    states: Mapping[Tensor, dict[str, Any]],
    words: Mapping[str, str] = STATE,
) -> tuple[list[MultiTensorStep], list[Tensor]]:
    """Parameters by kind, each kind with its machine code; and those for which there is none.

    Args:
        form: what is done.
        params: with gradients.
        states: torch's state of each; filled here.
        words: torch's names for the fields of the rule's state, where they differ.

    Raises:
        NoCompiler: this machine makes none.
    """
    kinds: dict[Any, list[Tensor]] = {}
    left = []
    for p in params:
        code = _code(form, p, states[p], words) if _usual(p) else None
        if code is None:
            left.append(p)
        else:
            single = (words.get(name, name) for name in code.recording.numbers)
            kinds.setdefault(
                (code, *(torch.as_tensor(states[p][word]).dtype for word in single)), []
            ).append(p)
    return [
        MultiTensorStep(code, found, states, words) for (code, *_), found in kinds.items()
    ], left


def _usual(p: Tensor) -> bool:
    """Whether p is plain memory, all of it its own, and its gradient too."""
    plain = type(p) in PLAIN and p.device.type == "cpu" and p.dtype in WORD and p.numel() > 0
    return (
        plain
        and p.grad is not None
        and p.grad.layout is torch.strided
        and p.grad.dtype in WORD
        and is_dense(p)
    )


def _code(
    form: StepSpec, p: Tensor, held: dict[str, Any], words: Mapping[str, str]
) -> Native | None:
    """The machine code for p; its state is filled in, and laid out as p."""
    fill(form, p, held, words)
    align_state(held, p)
    extras = form.extras(p)
    fields = (*(name for name, like_x in fields_of(form.rule).items() if like_x), *extras)
    kept = [held[words.get(name, name)] for name in fields]
    if any(value.shape != p.shape or value.dtype not in WORD for value in kept):
        return None  # a rule of rows and columns, or a type without a name in C
    formats = [form.weights(p)]
    for name, value in zip(fields, kept, strict=True):
        asked = form.kept(p, name, p)
        formats.append(asked if asked.dtype == value.dtype else Format(value.dtype))
    if any(isinstance(one, Dynamic) or (one.scaled and not p.is_contiguous()) for one in formats):
        return None  # looked up; or blocks of the tensor as it is read, not as it lies in memory
    wide = widest(p, *(value for value in kept if value.is_floating_point()))
    recording = record(form, torch.promote_types(wide, torch.float32), extras)
    if recording is None or not all(map(spoken, recording.graph.graph.nodes)):
        return None
    return native(recording, tuple(formats), p.grad.dtype, form.zero)  # type: ignore[union-attr]
