"""Record the gradients of a model: from a live training loop, or in one pass with the weights standing still."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim.optimizer import register_optimizer_step_post_hook

from betaplane.errors import BadInput
from betaplane.monitor.hooks import clipped, left_out, scale
from betaplane.optim.before import before_steps
from betaplane.optim.sharding.mesh import local, on_mesh
from betaplane.replay.gradients import Gradients, Layer
from betaplane.replay.sample import drawn
from betaplane.replay.store import save
from betaplane.theory._ask import whole


class Recorder(AbstractContextManager["Recorder"]):
    """Gradients on their way into a stream; see `record_gradients`."""

    def __init__(
        self, model: nn.Module, coordinates: int, steps: int, batch_size: int | None, step: int, seed: int
    ) -> None:
        _check_model(model)
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad and local(p).numel()}
        _check_numbers(self.named, coordinates, steps, batch_size, step)
        self.batch_size, self.step = None if batch_size is None else int(batch_size), int(step)
        held = [local(p) for p in self.named.values()]
        self.shapes = [tuple(p.shape) for p in held]
        where = drawn([p.numel() for p in held], coordinates, seed)
        self.index = torch.cat(where)
        self.places = [i.to(p.device) for i, p in zip(where, held, strict=True)]
        self.rows = _room(steps, len(self.index), held[0].device)  # no waiting for the device at each step
        self.taken, self.most = 0, len(self.rows)
        self.start: Tensor | None = None  # the weights at the first row
        self.frozen, self.begun = True, False
        self.own = {id(p) for p in self.named.values()}
        self.stepping: int | None = None  # the optimizer whose steps count, where several share the model
        self.handles = [before_steps(self._before), register_optimizer_step_post_hook(self._after)]

    @property
    def full(self) -> bool:
        """Whether all rows that were asked for are there."""
        return self.taken == self.most

    def take(self, gradients: Mapping[str, Tensor | None] | None = None) -> None:
        """Take one row: the gradients the parameters hold now, or those given by name; nothing once it is full."""
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
        """What was recorded; rows that are not finite (a step the loss scale overflowed at) are left out.

        Raises:
            BadInput: fewer than two rows were taken, or are finite.
        """
        if self.full:
            self.close()
        rows = self.rows[: self.taken].cpu()
        finite = torch.isfinite(rows).all(dim=1)
        _enough(self.taken, int(finite.sum()))
        layers = tuple(
            Layer(name, shape, len(i)) for name, shape, i in zip(self.named, self.shapes, self.places, strict=True)
        )
        about = {"rows left out": str(int((~finite).sum()))} if not finite.all() else {}
        if any(on_mesh(p) for p in self.named.values()):
            about["sharded"] = f"the parts of process {torch.distributed.get_rank()}"
        return Gradients(rows[finite], layers, self.index, self.batch_size, self.frozen, self.step, about=about)

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
        if id(optimizer) == self.stepping and not left_out(optimizer):
            row = self.taken
            self.take()
            self.begun = self.taken > row
            self.rows[row : self.taken] /= scale(optimizer)

    def _after(self, optimizer: Any, *_: Any) -> None:
        """A step was taken, after which it is known by how much it clipped."""
        if self.begun and id(optimizer) == self.stepping:
            self.begun = False
            self.rows[self.taken - 1] *= clipped(optimizer)

    def _fits(self) -> bool:
        """Whether the parameters have the shapes they began with; recording ends where they do not."""
        shapes = [tuple(local(p).shape) for p in self.named.values()]
        changed = [name for name, now, was in zip(self.named, shapes, self.shapes, strict=True) if now != was]
        if changed:
            self.most = self.taken
            warnings.warn(f"Recording ended after {self.taken} rows: the shape of {changed[0]} changed.", stacklevel=3)
        return not changed

    def _look(self) -> None:
        """Whether the weights still are those of the first row; not asked any more once they are not."""
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

    Weights, `.grad`, buffers (running means) and torch's generators are left as they were, interrupted or not.

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
        BadInput: as `record_gradients`, sharded parameters, a loss that is no scalar, fewer than two batches, or
            fewer than two of which the gradient is finite.

    Example:
        >>> model, data = nn.Linear(4, 2), torch.randn(3, 8, 4)
        >>> stream = record_pass(model, lambda model, x: model(x).square().mean(), data)
        >>> stream.steps, stream.frozen, model.weight.grad
        (3, True, None)
    """
    record = Recorder(model, coordinates, steps, batch_size, step, seed)
    record.close()  # no optimizer steps here
    _whole(record.named)
    with torch.random.fork_rng(), torch.enable_grad(), _buffers_aside(model):
        for batch in batches:
            found = torch.autograd.grad(_scalar(loss(model, batch)), [*record.named.values()], allow_unused=True)
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
    shape = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
    constant = isinstance(loss, Tensor) and loss.numel() == 1
    raise BadInput(
        "The loss does not depend on the parameters" if constant else "The loss is no scalar",
        value=shape,
        allowed="a tensor of one number, computed from the parameters",
        where="record_pass",
        instead="loss=lambda model, batch: torch.nn.functional.mse_loss(model(batch[0]), batch[1])",
    )


def _room(steps: int, columns: int, device: torch.device) -> Tensor:
    """Rows for the gradients, where there is memory for them."""
    try:
        return torch.zeros(steps, columns, device=device)
    except (RuntimeError, TypeError, OverflowError):  # torch's words for too many, depending on how many
        raise BadInput(
            "There is no memory for so many gradients",
            value=f"{steps} of {columns} coordinates",
            allowed=f"less than {4 * steps * columns:.3g} bytes",
            where="record_gradients",
            instead="steps=512",
        ) from None


def _enough(taken: int, finite: int) -> None:
    """Refuse a recording without two rows that are finite."""
    if taken < 2:
        raise BadInput(
            "Nothing was recorded: no optimizer took two steps on this model",
            value=taken,
            allowed="at least 2 rows",
            where="record_gradients",
            instead="record.take()  # after each backward(), where no torch optimizer steps",
        )
    if finite < 2:
        raise BadInput(
            f"{f'{taken - finite} of' if finite else 'All'} {taken} gradients are not finite",
            value=finite,
            allowed="at least 2 finite ones",
            where="record_gradients",
            instead="a recording from before the loss diverged",
        )


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


def _check_model(model: Any) -> None:
    """Refuse what is no model, or has parameters that cannot be recorded."""
    if not isinstance(model, nn.Module):
        raise BadInput(
            "This is no model",
            value=type(model).__name__,
            allowed="a torch.nn.Module",
            where="record_gradients",
            instead="record_gradients(model)",
        )
    for name, p in model.named_parameters():
        if is_lazy(p):
            raise BadInput(
                "The model's parameters have no shape yet",
                value=name,
                allowed="parameters with a shape",
                where="record_gradients",
                instead="model(batch)  # once, before recording",
            )
        if p.requires_grad and p.is_complex():
            raise BadInput(
                "The model's parameters are complex",
                value=name,
                allowed="real parameters",
                where="record_gradients",
                instead="torch.nn.Parameter(torch.view_as_real(p))  # and view_as_complex where it is used",
            )


def _check_numbers(
    named: Mapping[str, nn.Parameter], coordinates: int, steps: int, batch_size: int | None, step: int
) -> None:
    """Refuse a recording of nothing, and numbers out of range."""
    if not named:
        raise BadInput(
            "The model has no parameters to train",
            value=0,
            allowed="at least 1",
            where="record_gradients",
            instead="model.requires_grad_(True)",
        )
    whole("record_gradients", steps=(steps, 2), coordinates=(coordinates, 1), step=(step, 0))
    if batch_size is not None:
        whole("record_gradients", batch_size=(batch_size, 1))
