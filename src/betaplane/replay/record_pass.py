"""Record gradients at a checkpoint: one pass over minibatches, the weights standing still."""

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
    """Record gradients at a checkpoint: a pass over minibatches in which nothing is trained.

    Weights, `.grad`, buffers (running means) and torch's generators are left as they were,
    interrupted or not.

    Args:
        model: at the weights in question.
        loss: loss(model, batch) -> scalar, the mean over the minibatch.
        batches: minibatches, as a training would see them; no more than `steps` are used.
        coordinates: as `record_gradients`.
        steps: as `record_gradients`.
        batch_size: as `record_gradients`.
        step: as `record_gradients`.
        seed: as `record_gradients`.

    Raises:
        BadInput: as `record_gradients`, sharded parameters, a loss that is no function of two arguments or no
            scalar, fewer than two batches, or fewer than two of which the gradient is finite.

    Example:
        >>> model, data = nn.Linear(4, 2), torch.randn(3, 8, 4)
        >>> stream = record_pass(model, lambda model, x: model(x).square().mean(), data)
        >>> stream.steps, stream.frozen, model.weight.grad
        (3, True, None)
    """
    expect_function(loss, "loss", EXAMPLE, "record_pass", takes=2)
    expect(batches, Iterable, "batches", "batches=loader")
    record = Recorder(model, coordinates, steps, batch_size, step, seed)
    record.close()  # no optimizer steps here
    _whole(record.named)
    with torch.random.fork_rng(), torch.enable_grad(), _buffers_aside(model):
        for batch in batches:
            found = torch.autograd.grad(
                _scalar(loss(model, batch)), [*record.named.values()], allow_unused=True
            )
            record.take(dict(zip(record.named, found, strict=True)))
            if record.full:
                break
    if record.taken < 2:
        raise BadInput(
            "There are too few batches",
            value=record.taken,
            allowed="at least 2",
            where="record_pass",
            instead="batches=torch.utils.data.DataLoader(data, batch_size=32)",
        )
    return record.stream()


@contextmanager
def _buffers_aside(model: nn.Module) -> Iterator[None]:
    """The model works with copies of its buffers meanwhile, and has its own back after."""
    copies = {id(buffer): buffer.clone() for buffer in model.buffers()}
    kept = [(module._buffers, dict(module._buffers)) for module in model.modules()]
    try:
        for held, buffers in kept:
            for name, buffer in buffers.items():
                held[name] = copies.get(id(buffer))
        yield
    finally:
        for held, buffers in kept:
            for name in set(held.keys()) - buffers.keys():
                del held[name]
            for name, buffer in buffers.items():
                held[name] = buffer


def _scalar(loss: Any) -> Tensor:
    """A loss that can be differentiated."""
    if isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad:
        return loss
    shape = (
        f"a tensor of shape {tuple(loss.shape)}"
        if isinstance(loss, Tensor)
        else type(loss).__name__
    )
    constant = isinstance(loss, Tensor) and loss.numel() == 1
    raise BadInput(
        "The loss does not depend on the parameters" if constant else "The loss is no scalar",
        value=shape,
        allowed="a tensor of one number, computed from the parameters",
        where="record_pass",
        instead=EXAMPLE,
    )


def _whole(named: Mapping[str, nn.Parameter]) -> None:
    """Refuse sharded parameters, whose gradients only `backward` brings together."""
    sharded = next((name for name, p in named.items() if is_dtensor(p)), None)
    if sharded is not None:
        raise BadInput(
            "The model's parameters are sharded",
            value=sharded,
            allowed="whole tensors",
            where="record_pass",
            instead="record_gradients(model), and record.take() after each backward()",
        )
