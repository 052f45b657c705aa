"""Record gradients at a checkpoint: one pass over minibatches with frozen weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from betaplane.errors import BadInput, expect, expect_function
from betaplane.replay.gradients import Gradients
from betaplane.replay.recorder import Recorder
from betaplane.tensors.dtensor import is_dtensor

EXAMPLE = "loss=lambda model, batch: torch.nn.functional.mse_loss(model(batch[0]), batch[1])"


def record_pass(
    model: nn.Module,
    loss: Callable[[nn.Module, Any], Tensor],
    batches: Iterable[Any],
    coordinates: int = 20_000,
    steps: int = 512,
    *,
    batch_size: int | None = None,
    step: int = 0,
    seed: int = 0,
) -> Gradients:
    """Record gradients at a checkpoint: a pass over minibatches without training.

    Weights, `.grad`, buffers (running means) and torch's random generators are left unchanged, also
    if the pass is interrupted.

    Args:
        model: at the weights of interest.
        loss: loss(model, batch) -> scalar, the mean over the minibatch.
        batches: minibatches as in training; at most `steps` are used.
        coordinates: as in `record_gradients`.
        steps: as in `record_gradients`.
        batch_size: as in `record_gradients`.
        step: as in `record_gradients`.
        seed: as in `record_gradients`.

    Raises:
        BadInput: as in `record_gradients`; also for sharded parameters, a loss that is not a
            function of two arguments or not a scalar, fewer than two batches, or fewer than two
            finite gradients.

    Example:
        >>> model, data = nn.Linear(4, 2), torch.randn(3, 8, 4)
        >>> stream = record_pass(model, lambda model, x: model(x).square().mean(), data)
        >>> stream.steps, stream.frozen, model.weight.grad
        (3, True, None)
    """
    expect_function(loss, "loss", EXAMPLE, "record_pass", takes=2)
    expect(batches, Iterable, "batches", "batches=loader")
    record = Recorder(model, coordinates, steps, batch_size, step, seed)
    record.close()  # there are no optimizer steps here
    _check_not_sharded(record.named)
    with torch.random.fork_rng(), torch.enable_grad(), _buffers_aside(model):
        for batch in batches:
            scalar = _checked_scalar(loss(model, batch))
            gradients = torch.autograd.grad(scalar, [*record.named.values()], allow_unused=True)
            record.take(dict(zip(record.named, gradients, strict=True)))
            if record.full:
                break
    if record.taken < 2:
        raise BadInput(
            "Too few batches",
            value=record.taken,
            allowed="at least 2",
            where="record_pass",
            instead="batches=torch.utils.data.DataLoader(data, batch_size=32)",
        )
    return record.stream()


@contextmanager
def _buffers_aside(model: nn.Module) -> Iterator[None]:
    """Replace the model's buffers by copies within the block, and restore them afterwards."""
    copies = {id(buffer): buffer.clone() for buffer in model.buffers()}
    saved = [(module._buffers, dict(module._buffers)) for module in model.modules()]
    try:
        for current, original in saved:
            for name, buffer in original.items():
                current[name] = copies.get(id(buffer))
        yield
    finally:
        for current, original in saved:
            for name in set(current.keys()) - original.keys():
                del current[name]
            for name, buffer in original.items():
                current[name] = buffer


def _checked_scalar(loss: Any) -> Tensor:
    """The loss, if it is a scalar that can be differentiated."""
    if isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad:
        return loss
    what, shape = "The loss is not a scalar", type(loss).__name__
    if isinstance(loss, Tensor):
        shape = f"a tensor of shape {tuple(loss.shape)}"
        what = "The loss does not depend on the parameters" if loss.numel() == 1 else what
    raise BadInput(
        what,
        value=shape,
        allowed="a tensor of one element, computed from the parameters",
        where="record_pass",
        instead=EXAMPLE,
    )


def _check_not_sharded(named: Mapping[str, nn.Parameter]) -> None:
    """Raise BadInput for sharded parameters, whose gradients only `backward` reduces."""
    sharded = next((name for name, p in named.items() if is_dtensor(p)), None)
    if sharded is not None:
        raise BadInput(
            "The model's parameters are sharded",
            value=sharded,
            allowed="whole tensors",
            where="record_pass",
            instead="record_gradients(model), and record.take() after each backward()",
        )
