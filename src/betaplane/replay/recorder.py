"""Record the gradients of a model during training: sampled coordinates, one row before each
optimizer step.
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
from betaplane.replay.sample import sample_coordinates
from betaplane.replay.store import save
from betaplane.replay.validation import allocate_rows, check_model, check_numbers, check_rows
from betaplane.tensors.dtensor import is_dtensor, local_tensor


class Recorder(AbstractContextManager["Recorder"]):
    """Records gradients until it has all rows; see `record_gradients`."""

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
        self.batch_size = None if batch_size is None else int(batch_size)
        self.step = int(step)
        tensors = [local_tensor(p) for p in self.named.values()]
        self.shapes = [tuple(p.shape) for p in tensors]
        sampled = sample_coordinates([p.numel() for p in tensors], coordinates, seed)
        self.index = torch.cat(sampled)
        self.places = [i.to(p.device) for i, p in zip(sampled, tensors, strict=True)]
        # on the device of the model, so that no step waits for a transfer
        self.rows = allocate_rows(steps, len(self.index), tensors[0].device)
        self.taken = 0
        self.max_rows = len(self.rows)
        self.first_weights: Tensor | None = None  # the weights at the first row
        self.frozen = True
        self._in_step = False  # between the row of a step and the end of that step
        self._parameter_ids = {id(p) for p in self.named.values()}
        # the optimizer whose steps count, if several share the model
        self._optimizer_id: int | None = None
        self._handles = [before_steps(self._before), register_optimizer_step_post_hook(self._after)]

    @property
    def full(self) -> bool:
        """Whether all requested rows are recorded."""
        return self.taken == self.max_rows

    def take(self, gradients: Mapping[str, Tensor | None] | None = None) -> None:
        """Record one row; does nothing once all rows are recorded.

        Args:
            gradients: by parameter name; by default the parameters' `.grad`.
        """
        if self.full or not self._has_same_shapes():
            return
        self._check_frozen()
        if gradients is None:
            gradients = {name: p.grad for name, p in self.named.items()}
        self.rows[self.taken] = self._sampled(gradients)
        self.taken += 1

    def close(self) -> None:
        """Record no more rows."""
        for handle in self._handles:
            handle.remove()

    def __exit__(self, *raised: object) -> None:
        self.close()

    def stream(self) -> Gradients:
        """The recorded gradients, without the rows that are not finite (steps at which the loss
        scale overflowed).

        Raises:
            BadInput: fewer than two rows were recorded, or are finite.
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
            about["sharded"] = f"the shards of rank {torch.distributed.get_rank()}"
        return Gradients(
            rows[finite], layers, self.index, self.batch_size, self.frozen, self.step, about=about
        )

    def save(self, path: str | Path) -> Path:
        """Write the recorded gradients to a safetensors file; returns its path."""
        return save(self.stream(), path)

    def _before(self, optimizer: Any) -> None:
        """Record a row before a step of an optimizer that has one of the recorded parameters."""
        # The hooks are removed later: torch does not allow it while it calls them.
        if self.full:
            return
        if self._optimizer_id is None and self._has_own_parameter(optimizer):
            self._optimizer_id = id(optimizer)
        if id(optimizer) == self._optimizer_id and not is_skipped(optimizer):
            row = self.taken
            self.take()
            self._in_step = self.taken > row
            self.rows[row : self.taken] /= gradient_scale(optimizer)

    def _has_own_parameter(self, optimizer: Any) -> bool:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        return any(id(p) in self._parameter_ids for p in parameters)

    def _after(self, optimizer: Any, *_: Any) -> None:
        """Apply the clipping factor, which is known only after the step."""
        if self._in_step and id(optimizer) == self._optimizer_id:
            self._in_step = False
            self.rows[self.taken - 1] *= clip_factor(optimizer)

    def _has_same_shapes(self) -> bool:
        """Whether the parameters have their first shapes; recording ends if they do not."""
        shapes = [tuple(local_tensor(p).shape) for p in self.named.values()]
        pairs = zip(self.named, shapes, self.shapes, strict=True)
        changed = [name for name, shape, first in pairs if shape != first]
        if changed:
            self.max_rows = self.taken
            warnings.warn(
                f"Recording ended after {self.taken} rows: the shape of {changed[0]} changed.",
                stacklevel=3,
            )
        return not changed

    def _check_frozen(self) -> None:
        """Update `frozen`: whether the weights are still those of the first row."""
        if self.frozen:
            weights = self._sampled({name: p.detach() for name, p in self.named.items()})
            if self.first_weights is None:
                self.first_weights = weights
            self.frozen = bool(torch.equal(weights, self.first_weights))

    @torch.no_grad()
    def _sampled(self, tensors: Mapping[str, Tensor | None]) -> Tensor:
        device = self.rows.device
        parts = [
            _sampled_elements(tensors.get(name), place).to(device, torch.float32, non_blocking=True)
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
    """Record sampled gradients of a training loop as it runs, one row before each optimizer step.

    Rows are the gradients that the optimizer uses: accumulated, unscaled, clipped. This works with
    any torch optimizer; without one, call `record.take()` after each backward. If no weight changes
    between the first row and the last, the stream is frozen, otherwise live. Recording stops
    automatically when all rows are recorded.

    If parameters are sharded (FSDP2), each rank records its own shards: save those of one rank, or
    each to a file of its own.

    Args:
        model: the model that is trained.
        coordinates: number of recorded coordinates; sampled from every tensor in proportion to its
            size, at least 16 of each.
        steps: rows to record, >= 2.
        batch_size: examples per row; needed to predict other batch sizes.
        step: optimizer steps taken before; only stored.
        seed: of the sample of coordinates, a whole number.

    Returns:
        A recorder. `stream()` returns the recorded gradients, `save(path)` writes them; as a
        context manager it ends with its block.

    Raises:
        BadInput: the argument is not a model, has no trainable parameters, complex ones or ones
            without a shape yet, or a number is out of range.

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


def _sampled_elements(tensor: Tensor | None, place: Tensor) -> Tensor:
    """The sampled elements of a tensor; 0 if there is no gradient."""
    if tensor is None:
        return torch.zeros(len(place), device=place.device)
    local = local_tensor(tensor)
    return (local.to_dense() if local.is_sparse else local).reshape(-1)[place]
