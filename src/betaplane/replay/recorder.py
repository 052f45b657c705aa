"""Record the gradients of a model as it trains: sampled coordinates, one row before each optimizer
step.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from betaplane.monitor.capture.hooks import clip_factor, gradient_scale, is_skipped
from betaplane.optim.before import before_steps
from betaplane.replay.gradients import Gradients, Layer
from betaplane.replay.sample import drawn
from betaplane.replay.store import save
from betaplane.replay.validation import check_model, check_numbers, check_rows, room
from betaplane.tensors.dtensor import is_dtensor, local_tensor


class Recorder(AbstractContextManager["Recorder"]):
    """Gradients on their way into a stream; see `record_gradients`."""

    def __init__(
        self,
        model: nn.Module,
        coordinates: int,
        steps: int,
        batch_size: int | None,
        step: int,
        seed: int,
    ) -> None:
        check_model(model)
        self.named = {
            name: p
            for name, p in model.named_parameters()
            if p.requires_grad and local_tensor(p).numel()
        }
        check_numbers(self.named, coordinates, steps, batch_size, step, seed)
        self.batch_size, self.step = None if batch_size is None else int(batch_size), int(step)
        held = [local_tensor(p) for p in self.named.values()]
        self.shapes = [tuple(p.shape) for p in held]
        where = drawn([p.numel() for p in held], coordinates, seed)
        self.index = torch.cat(where)
        self.places = [i.to(p.device) for i, p in zip(where, held, strict=True)]
        # no waiting for the device at each step
        self.rows = room(steps, len(self.index), held[0].device)
        self.taken, self.most = 0, len(self.rows)
        self.start: Tensor | None = None  # the weights at the first row
        self.frozen, self.begun = True, False
        self.own = {id(p) for p in self.named.values()}
        # the optimizer whose steps count, where several share the model
        self.stepping: int | None = None
        self.handles = [before_steps(self._before), register_optimizer_step_post_hook(self._after)]

    @property
    def full(self) -> bool:
        """Whether all rows that were asked for are there."""
        return self.taken == self.most

    def take(self, gradients: Mapping[str, Tensor | None] | None = None) -> None:
        """Take one row: the gradients the parameters hold now, or those given by name; nothing once
        it is full.
        """
        if self.full or not self._fits():
            return
        self._look()
        given = {name: p.grad for name, p in self.named.items()} if gradients is None else gradients
        self.rows[self.taken] = self._sampled(given)
        self.taken += 1

    def close(self) -> None:
        """Take no more rows."""
        for handle in self.handles:
            handle.remove()

    def __exit__(self, *raised: object) -> None:
        self.close()

    def stream(self) -> Gradients:
        """What was recorded; rows that are not finite (a step the loss scale overflowed at) are
        left out.

        Raises:
            BadInput: fewer than two rows were taken, or are finite.
        """
        if self.full:
            self.close()
        rows = self.rows[: self.taken].cpu()
        finite = torch.isfinite(rows).all(dim=1)
        check_rows(self.taken, int(finite.sum()))
        layers = tuple(
            Layer(name, shape, len(i))
            for name, shape, i in zip(self.named, self.shapes, self.places, strict=True)
        )
        about = {"rows left out": str(int((~finite).sum()))} if not finite.all() else {}
        if any(is_dtensor(p) for p in self.named.values()):
            about["sharded"] = f"the parts of process {torch.distributed.get_rank()}"
        return Gradients(
            rows[finite], layers, self.index, self.batch_size, self.frozen, self.step, about=about
        )

    def save(self, path: str | Path) -> Path:
        """Write what was recorded to a safetensors file; returns its path."""
        return save(self.stream(), path)

    def _before(self, optimizer: Any) -> None:
        """A step is about to be taken: ours, if the optimizer has one of our parameters."""
        # removed later: torch does not bear that among other hooks, while it calls them
        if self.full:
            return
        if self.stepping is None and any(
            id(p) in self.own for group in optimizer.param_groups for p in group["params"]
        ):
            self.stepping = id(optimizer)
        if id(optimizer) == self.stepping and not is_skipped(optimizer):
            row = self.taken
            self.take()
            self.begun = self.taken > row
            self.rows[row : self.taken] /= gradient_scale(optimizer)

    def _after(self, optimizer: Any, *_: Any) -> None:
        """A step was taken, after which it is known by how much it clipped."""
        if self.begun and id(optimizer) == self.stepping:
            self.begun = False
            self.rows[self.taken - 1] *= clip_factor(optimizer)

    def _fits(self) -> bool:
        """Whether the parameters have the shapes they began with; recording ends where they do not."""
        shapes = [tuple(local_tensor(p).shape) for p in self.named.values()]
        changed = [
            name
            for name, now, was in zip(self.named, shapes, self.shapes, strict=True)
            if now != was
        ]
        if changed:
            self.most = self.taken
            warnings.warn(
                f"Recording ended after {self.taken} rows: the shape of {changed[0]} changed.",
                stacklevel=3,
            )
        return not changed

    def _look(self) -> None:
        """Whether the weights still are those of the first row; not asked any more once they are
        not.
        """
        if self.frozen:
            now = self._sampled({name: p.detach() for name, p in self.named.items()})
            self.start = now if self.start is None else self.start
            self.frozen = bool(torch.equal(now, self.start))

    @torch.no_grad()
    def _sampled(self, tensors: Mapping[str, Tensor | None]) -> Tensor:
        device = self.rows.device
        parts = [
            _picked(tensors.get(name), place).to(device, torch.float32, non_blocking=True)
            for name, place in zip(self.named, self.places, strict=True)
        ]
        return torch.cat(parts)


def record_gradients(
    model: nn.Module,
    coordinates: int = 20_000,
    steps: int = 512,
    *,
    batch_size: int | None = None,
    step: int = 0,
    seed: int = 0,
) -> Recorder:
    """Record the gradients of a training loop as it runs: one row before each optimizer step, of
    sampled coordinates.

    Rows hold what the optimizer sees: accumulated, unscaled, clipped. Any torch optimizer will do; where there is none,
    `record.take()` after each backward takes a row. If no weight has changed between the first row and the last, the
    stream is frozen, else live. It stops by itself when it has its rows.

    Of sharded parameters (FSDP2) each process records its own parts: save one process's, or each to
    a file of its own.

    Args:
        model: whose parameters are trained.
        coordinates: how many are recorded, drawn from every tensor in proportion to its size and not below 16 of each.
        steps: rows to record, >= 2.
        batch_size: examples behind each row; needed to predict other batch sizes.
        step: optimizer steps taken before, for the record.
        seed: of the draw of coordinates, a whole number.

    Returns:
        A recorder: `stream()` is what it has, `save(path)` writes it; as a context manager it ends with its block.

    Raises:
        BadInput: no model, no trainable parameters, complex ones, ones without a shape yet, or numbers out of range.

    Example:
        >>> model = nn.Linear(4, 2)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> with record_gradients(model, steps=3, batch_size=8) as record:
        ...     for _ in range(5):
        ...         optimizer.zero_grad()
        ...         model(torch.randn(8, 4)).square().mean().backward()
        ...         optimizer.step()
        >>> stream = record.stream()
        >>> stream.steps, stream.coordinates, stream.frozen
        (3, 10, False)
    """
    return Recorder(model, coordinates, steps, batch_size, step, seed)


def _picked(tensor: Tensor | None, place: Tensor) -> Tensor:
    """The sampled coordinates of a tensor; 0 where there is no gradient."""
    if tensor is None:
        return torch.zeros(len(place), device=place.device)
    held = local_tensor(tensor)
    return (held.to_dense() if held.is_sparse else held).reshape(-1)[place]
