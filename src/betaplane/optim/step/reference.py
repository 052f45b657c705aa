"""One parameter's update, operation by operation: the slow twin of machine code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane.optim.step.dependence import reach
from betaplane.optim.step.step_spec import LOST, StepSpec, StepValues, fields_of, widest
from betaplane.optim.storage_formats import BLOCK, SCALE, row, stream_of
from betaplane.rules import Rule
from betaplane.tensors.dtensor import full_tensor

STATE = {"t": "step", "m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}  # torch's names

COUNT = torch.float32  # of step counts, whatever the parameter's dtype: as torch's
PIECE = 2**18  # numbers that are stepped at once, where a rule goes number by number


def update(
    form: StepSpec,
    p: Tensor,
    g: Tensor,
    held: dict[str, Any],
    numbers: StepValues,
    *,
    words: Mapping[str, str] = STATE,
) -> float:
    """Take one step on p, in place, with the state in `held`, which is filled at the first step.

    The arithmetic is in the widest type among p and its state, of 32 bits at least. Complex numbers are pairs of real
    ones.

    Args:
        form: what is done.
        p: the parameter.
        g: its gradient; changed only where the form sets it to zero.
        held: torch's state of the parameter, by torch's names: tensors.
        numbers: learning rate and what else the form takes.
        words: torch's names for the fields of the rule's state, where they differ.

    Returns:
        The squared length of the update, where the form measures it; else 0.
    """
    if p.numel() == 0:
        return 0.0
    fill(form, p, held, words)
    if p.numel() <= PIECE or not _cuts(form, p, g, held):
        return _step(form, p, g, held, numbers, words)
    moved, own = 0.0, {}
    for x, part, own, start in pieces(p, g, held):
        moved += _step(form, x, part, own, numbers, words, start)
    for word, value in own.items():
        if value.dim() == 0:
            _store(held, word, value, p)
    return moved


def _cuts(form: StepSpec, p: Tensor, g: Tensor, held: Mapping[str, Any]) -> bool:
    """Whether a step can be taken piece by piece, so that no temporary is large."""
    like_p = [value for value in held.values() if value.shape == p.shape]
    return (
        not p.is_complex()
        and reach(form.rule) == "number"
        and all(x.is_contiguous() for x in (p, g, *like_p))
    )


def pieces(
    p: Tensor, g: Tensor, held: Mapping[str, Tensor]
) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor], int]]:
    """A parameter, its gradient and state in pieces of about PIECE numbers, and the place each
    begins at.

    They are whole rows, or of one long row whole blocks. Single numbers are copies.
    """
    length = row(p.shape)
    long = length == p.numel()
    size = PIECE // BLOCK * BLOCK if long else max(1, PIECE // length)
    scale_size = size // BLOCK if long else size
    views = [x.view(-1, length) for x in (p.detach(), g)]
    kept = {
        word: value.view(-1, length) if value.shape == p.shape else value
        for word, value in held.items()
    }
    for i in range(-(-views[0].shape[long] // size)):
        own = {
            word: value.clone() if value.dim() == 0
            else value.narrow(int(long), *_span(value, long, i, scale_size if word.endswith(SCALE) else size))
            for word, value in kept.items()
        }  # fmt: skip
        x, part = (view.narrow(int(long), *_span(view, long, i, size)) for view in views)
        x.whole_numel = p.numel()  # type: ignore[attr-defined]
        yield x, part, own, i * size * (1 if long else length)


def _span(value: Tensor, dim: bool, i: int, size: int) -> tuple[int, int]:
    """Where piece i of a dimension begins, and how long it is."""
    return i * size, min(size, value.shape[dim] - i * size)


def _step(
    form: StepSpec,
    p: Tensor,
    g: Tensor,
    held: dict[str, Any],
    numbers: StepValues,
    words: Mapping[str, str],
    start: int = 0,
) -> float:
    """A step of a parameter, or of the piece of one that begins at `start`."""
    x, seed = _real(p), int(held.get("step", 0))
    s, extra = _loaded(form, x, held, words)
    like_x = {name for name, is_like in fields_of(form.rule).items() if is_like}
    tensors = [value for name, value in s._asdict().items() if name in like_x]
    wide = torch.promote_types(widest(x, *tensors), torch.float32)
    s = s._replace(**{name: getattr(s, name).to(wide) for name in like_x})
    extra = {word: value.to(wide) for word, value in extra.items()}
    done = form.whole(x.to(wide), _real(g).to(wide), s, extra, numbers)
    _keep(form, p, done, held, (seed, start), words)
    if form.zero:
        g.zero_()
    if "t" not in s._fields:
        count(held)
    return 0.0 if done.moved is None else float(full_tensor(done.moved))


def _keep(
    form: StepSpec,
    p: Tensor,
    done: Any,
    held: dict[str, Any],
    chance: tuple[int, int],
    words: Mapping[str, str],
) -> None:
    """Write what a pass left into p and its state, in the form's formats."""
    x = _real(p)
    x.copy_(form.weights(x).encode(done.x, stream_of(0), *chance)[0])
    tensors = [name for name in done.s._fields if getattr(done.s, name).dim()]
    for name, value in (done.s._asdict() | done.extra).items():
        place = 1 + (tensors.index(name) if name in tensors else 0)
        word, asked = words.get(name, name), form.kept(x, name, value)
        kept, scale = asked.encode(value, stream_of(place), *chance)
        _store(held, word, kept, p)
        if scale is not None:
            _store(held, word + SCALE, scale, p)


def count(held: dict[str, Any]) -> None:
    """One step more, where the rule itself does not count: torch's states do."""
    held["step"] = torch.as_tensor(held.get("step", 0.0)) + 1


def estimate(
    rule: Rule, p: Tensor, h: Tensor, held: dict[str, Any], words: Mapping[str, str] = STATE
) -> None:
    """Take an estimate of the curvature into the state in `held`, by the rule's own `curvature`.

    Args:
        rule: has `curvature(s, h)`.
        p: the parameter.
        h: like p, the estimate.
        held: torch's state of the parameter; filled if it is empty.
        words: torch's names for the fields of the rule's state, where they differ.
    """
    form = StepSpec(rule)
    fill(form, p, held, words)
    s, _ = _loaded(form, p, held, words)
    new = rule.curvature(s, h)  # pyright: ignore[reportAttributeAccessIssue]
    for name, value in new._asdict().items():
        _store(held, words.get(name, name), value, p)


def fill(form: StepSpec, p: Tensor, held: dict[str, Any], words: Mapping[str, str] = STATE) -> None:
    """Make what is missing of p's state, as it is before the first step, and keep all of it as the
    form asks.
    """
    x = _real(p)
    fields = fields_of(form.rule) | dict.fromkeys(form.extras(x), True)
    if all(
        _is_kept(form, x, name, like_x, held.get(words.get(name, name)))
        for name, like_x in fields.items()
    ):
        return  # a fresh state to compare with would be written to memory
    fresh = form.rule.init(x)._asdict()
    fresh |= {"t": fresh["t"].to(COUNT)} if "t" in fresh else {}
    fresh |= {name: torch.zeros_like(x) if name == LOST else x.clone() for name in form.extras(x)}
    for name, value in fresh.items():
        word, asked = words.get(name, name), form.kept(x, name, value)
        old = held.get(word)
        # else a hyperparameter was, or has become, 0
        if old is not None and _is_number(old) == _is_number(value):
            if not asked.dtype or asked.dtype == old.dtype:
                continue
            value = old
        kept, scale = asked.encode(value, 0, 0)
        held.pop(word, None)
        _store(held, word, kept, p)
        if scale is not None:
            held[word + SCALE] = scale


def _is_kept(form: StepSpec, x: Tensor, name: str, like_x: bool, value: Any) -> bool:
    """Whether a field of x's state is there, as the form asks."""
    if value is None or _is_number(value) == (like_x and x.dim() > 0):
        return False
    asked = None if _is_number(value) else form.kept(x, name, _real(value)).dtype
    return asked is None or asked == value.dtype


def _is_number(value: Any) -> bool:
    return not isinstance(value, Tensor) or _real(value).dim() == 0


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x) if x.is_complex() else x


def _loaded(
    form: StepSpec, x: Tensor, held: Mapping[str, Any], words: Mapping[str, str]
) -> tuple[Any, dict[str, Tensor]]:
    """The rule's state and the form's extras, from what is held."""
    fresh = form.rule.init(x)
    s = type(fresh)(
        *(_one(form, x, name, held, words, value) for name, value in fresh._asdict().items())
    )
    return s, {name: _one(form, x, name, held, words) for name in form.extras(x)}


def _one(
    form: StepSpec,
    x: Tensor,
    name: str,
    held: Mapping[str, Any],
    words: Mapping[str, str],
    fresh: Tensor | None = None,
) -> Tensor:
    """A field of the state, decoded; a number in the type of a fresh one."""
    word = words.get(name, name)
    value = held[word]
    value = _real(value) if isinstance(value, Tensor) else torch.tensor(value)
    if value.dim() == 0:
        return value if fresh is None else value.to(fresh)
    return form.kept(x, name, value).decode(value.to(x.device), held.get(word + SCALE))


def _store(held: dict[str, Any], word: str, value: Tensor, p: Tensor) -> None:
    """Write a state in place, so that its layout and whoever else holds it stay; at the first step,
    a copy.
    """
    old = held.get(word)
    if isinstance(old, Tensor) and _real(old).shape == value.shape:
        _real(old).copy_(value)
    else:
        pairs = p.is_complex() and value.dim() > 0 and value.shape[:-1] == p.shape
        held[word] = torch.view_as_complex(value.contiguous().clone()) if pairs else value.clone()
