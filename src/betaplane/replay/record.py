"""Record the gradients of a model: from a live training loop, or in one pass with the weights standing still."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from betaplane.errors import BadInput
from betaplane.optim.before import before_steps
from betaplane.optim.sharding.mesh import local, on_mesh
from betaplane.replay.gradients import Gradients, Layer
from betaplane.replay.sample import drawn
from betaplane.replay.store import save


class Recorder(AbstractContextManager["Recorder"]):
    """Gradients on their way into a stream; see `record_gradients`."""

    def __init__(
        self, model: nn.Module, coordinates: int, steps: int, batch_size: int | None, step: int, seed: int
    ) -> None:
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad and local(p).numel()}
        _check(self.named, coordinates, steps, batch_size)
        self.batch_size, self.step = batch_size, step
        held = [local(p) for p in self.named.values()]
        where = drawn([p.numel() for p in held], coordinates, seed)
        self.index = torch.cat(where)
        self.places = [i.to(p.device) for i, p in zip(where, held, strict=True)]
        first = held[0]
        self.rows = torch.zeros(steps, len(self.index), device=first.device)  # no waiting for the device at each step
        self.taken, self.start = 0, self._sampled({name: p.detach() for name, p in self.named.items()})
        self.own = {id(p) for p in self.named.values()}
        self.stepping: int | None = None  # the optimizer whose steps count, where several share the model
        self.handle = before_steps(self._before)

    @property
    def full(self) -> bool:
        """Whether all rows that were asked for are there."""
        return self.taken == len(self.rows)

    def take(self, gradients: Mapping[str, Tensor | None] | None = None) -> None:
        """Take one row: the gradients the parameters hold now, or those given by name; nothing once it is full."""
        if self.full:
            return
        given = {name: p.grad for name, p in self.named.items()} if gradients is None else gradients
        self.rows[self.taken] = self._sampled(given)
        self.taken += 1

    def close(self) -> None:
        """Take no more rows."""
        self.handle.remove()

    def __exit__(self, *raised: object) -> None:
        self.close()

    def stream(self) -> Gradients:
        """What was recorded; rows that are not finite (a step the loss scale overflowed at) are left out.

        Raises:
            BadInput: fewer than two rows were taken.
        """
        if self.full:
            self.close()
        rows = self.rows[: self.taken].cpu()
        finite = torch.isfinite(rows).all(dim=1)
        if int(finite.sum()) < 2:
            raise BadInput(
                "Nothing was recorded: no optimizer took two steps on this model",
                value=int(finite.sum()),
                allowed="at least 2 rows",
                where="record_gradients",
                instead="record.take()  # after each backward(), where no torch optimizer steps",
            )
        now = self._sampled({name: p.detach() for name, p in self.named.items()})
        layers = tuple(
            Layer(name, tuple(local(p).shape), len(i))
            for (name, p), i in zip(self.named.items(), self.places, strict=True)
        )
        frozen = bool(torch.equal(now, self.start))
        about = {"rows left out": str(int((~finite).sum()))} if not finite.all() else {}
        if any(on_mesh(p) for p in self.named.values()):
            about["sharded"] = f"the parts of process {torch.distributed.get_rank()}"
        return Gradients(rows[finite], layers, self.index, self.batch_size, frozen, self.step, about=about)

    def save(self, path: str | Path) -> Path:
        """Write what was recorded to a safetensors file; returns its path."""
        return save(self.stream(), path)

    def _before(self, optimizer: Any) -> None:
        """A step is about to be taken: ours, if the optimizer has one of our parameters."""
        if self.full:  # removed later: torch does not bear that among other hooks, while it calls them
            return
        if self.stepping is None and any(
            id(p) in self.own for group in optimizer.param_groups for p in group["params"]
        ):
            self.stepping = id(optimizer)
        if id(optimizer) == self.stepping:
            self.take()

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
    """Record the gradients of a training loop as it runs: one row before each optimizer step, of sampled coordinates.

    Rows hold what the optimizer sees: accumulated, unscaled, clipped. Any torch optimizer will do; where there is none,
    `record.take()` after each backward takes a row. If no weight has changed between the first row and the last, the
    stream is frozen, else live. It stops by itself when it has its rows.

    Of sharded parameters (FSDP2) each process records its own parts: save one process's, or each to a file of its own.

    Args:
        model: whose parameters are trained.
        coordinates: how many are recorded, drawn from every tensor in proportion to its size and not below 16 of each.
        steps: rows to record, >= 2.
        batch_size: examples behind each row; needed to predict other batch sizes.
        step: optimizer steps taken before, for the record.
        seed: of the draw of coordinates.

    Returns:
        A recorder: `stream()` is what it has, `save(path)` writes it; as a context manager it ends with its block.

    Raises:
        BadInput: no trainable parameters, or numbers out of range.

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

    Weights, `.grad`, buffers (running means) and torch's generators are left as they were.

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
        BadInput: as `record_gradients`, sharded parameters, or fewer than two batches.

    Example:
        >>> model, data = nn.Linear(4, 2), torch.randn(3, 8, 4)
        >>> stream = record_pass(model, lambda model, x: model(x).square().mean(), data)
        >>> stream.steps, stream.frozen, model.weight.grad
        (3, True, None)
    """
    record = Recorder(model, coordinates, steps, batch_size, step, seed)
    record.close()  # no optimizer steps here
    _whole(record.named)
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng():
        for batch in batches:
            found = torch.autograd.grad(loss(model, batch), [*record.named.values()], allow_unused=True)
            record.take(dict(zip(record.named, found, strict=True)))
            if record.full:
                break
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])
    return record.stream()


def _picked(tensor: Tensor | None, place: Tensor) -> Tensor:
    """The sampled coordinates of a tensor; 0 where there is no gradient."""
    if tensor is None:
        return torch.zeros(len(place), device=place.device)
    held = local(tensor)
    return (held.to_dense() if held.is_sparse else held).reshape(-1)[place]


def _whole(named: Mapping[str, nn.Parameter]) -> None:
    """Refuse sharded parameters, whose gradients only `backward` brings together."""
    sharded = next((name for name, p in named.items() if on_mesh(p)), None)
    if sharded is not None:
        raise BadInput(
            "The model's parameters are sharded",
            value=sharded,
            allowed="whole tensors",
            where="record_pass",
            instead="record_gradients(model), and record.take() after each backward()",
        )


def _check(named: Mapping[str, nn.Parameter], coordinates: int, steps: int, batch_size: int | None) -> None:
    where = "record_gradients"
    if not named:
        raise BadInput("The model has no parameters to train", value=0, allowed="at least 1", where=where)
    for name, value, least, usual in (("steps", steps, 2, 512), ("coordinates", coordinates, 1, 20_000)):
        if not isinstance(value, int) or value < least:
            raise BadInput(
                f"{name} is out of range",
                value=value,
                allowed=f"{least}, {least + 1}, ...",
                where=where,
                instead=f"{name}={usual}",
            )
    if batch_size is not None and not (isinstance(batch_size, int) and batch_size >= 1):
        raise BadInput(
            "batch_size is out of range", value=batch_size, allowed="1, 2, ...", where=where, instead="batch_size=32"
        )
