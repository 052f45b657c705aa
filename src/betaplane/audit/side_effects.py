"""Tests of side effects: gradients, invalid options, dtypes, memory layouts, copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from betaplane.audit.black_box import ONES, SHAPE, BlackBox, error_text, new_parameter
from betaplane.audit.probes import Finding

ROUNDING = 1e-9


def gradient_changes(subject: BlackBox) -> Finding:
    """Whether step() writes into the gradients."""
    changed = {}
    for name, want in {
        "": {},
        "with weight_decay": {"weight_decay": 0.1},
        "with maximize": {"maximize": True},
    }.items():
        if not want or set(want) <= subject.settable:
            changed[name] = _largest_overwrite(subject, want)
    worst = max(changed.values())
    if not worst:
        return Finding("left alone", 0.0)
    where = " and ".join(name or "always" for name, off in changed.items() if off)
    return Finding(
        f"overwritten by step(), {where.split(' and ')[0] if changed[''] else where}", worst, True
    )


def _largest_overwrite(subject: BlackBox, want: dict[str, Any]) -> float:
    if subject.call_style == "sparse":
        return 0.0
    p, gradients = new_parameter(ONES), noise(3)
    optimizer, off = subject.make([p], **want), 0.0
    for g in gradients:
        subject.step(optimizer, [(p, g)])
        off = max(off, float((p.grad - g).abs().max()) if p.grad is not None else 1.0)
    return off


def invalid_beta2(subject: BlackBox) -> Finding:
    """The effect of beta2 = 1.5."""
    return _effect_of_invalid(subject, {"beta2": 1.5})


def invalid_beta1(subject: BlackBox) -> Finding:
    """The effect of beta1 = -0.1."""
    return _effect_of_invalid(subject, {"beta1": -0.1})


def invalid_lr(subject: BlackBox) -> Finding:
    """The effect of lr = -1."""
    return _effect_of_invalid(subject, {"lr": -1.0})


def _effect_of_invalid(subject: BlackBox, want: dict[str, float]) -> Finding:
    if not set(want) <= subject.settable:
        return Finding("no such option, or it is set")
    try:
        points = subject.path(ONES, noise(5), want).points
    except Exception as error:
        return Finding(f"refused: {error_text(error)}")
    bad = int((~torch.isfinite(points[-1])).sum())
    if bad:
        return Finding(
            "accepted in silence; share of weights that are nan after 5 steps",
            bad / ONES.numel(),
            True,
        )
    return Finding("accepted in silence", trouble=True)


def float32_state(subject: BlackBox) -> Finding:
    """The dtypes of the state of float32 parameters."""
    return _state(subject, torch.float32)


def bfloat16_state(subject: BlackBox) -> Finding:
    """The dtypes of the state of bfloat16 parameters."""
    return _state(subject, torch.bfloat16)


def _state(subject: BlackBox, dtype: torch.dtype) -> Finding:
    p = new_parameter(ONES.to(dtype))
    optimizer = subject.make([p])
    subject.step(optimizer, [(p, ONES.to(dtype))])
    subject.step(optimizer, [(p, ONES.to(dtype))])
    tensors = [
        value for value in optimizer.state[p].values() if isinstance(value, Tensor) and value.dim()
    ]
    size = sum(value.numel() * value.element_size() for value in tensors) / p.numel()
    types = " and ".join(sorted({str(value.dtype).removeprefix("torch.") for value in tensors}))
    return Finding(f"{types or 'none'}; bytes per element", size)


def bfloat16_steps(subject: BlackBox) -> Finding:
    """The change of a bfloat16 weight of 1 in 100 steps of 1e-4; 0.01 is right for steps of lr."""
    want = {"lr": 1e-4, "weight_decay": 0.0}
    half, wide = (
        subject.path(ONES.to(dtype), [ONES] * 100, want)
        for dtype in (torch.bfloat16, torch.float64)
    )
    gone, right = (1 - float(path.points[-1, 0, 0]) for path in (half, wide))
    if gone == 0 and right > 0:
        return Finding(f"do not move; float64 weights move {right:.3g}", 0.0, True)
    return Finding(f"move: in 100 steps of lr=1e-4 from 1 (float64: {right:.3g})", gone)


def complex_parameters(subject: BlackBox) -> Finding:
    """Whether complex parameters step as pairs of real parameters."""
    x, gradients = torch.view_as_complex(noise(2).permute(1, 2, 0).contiguous()), noise(10, seed=1)
    gradients = torch.view_as_complex(gradients.view(5, 2, *SHAPE).permute(0, 2, 3, 1).contiguous())
    try:
        points = torch.view_as_real(subject.path(x, gradients).points)
    except Exception as error:
        return Finding(f"refused: {error_text(error)}")
    pairs = subject.path(torch.view_as_real(x), torch.view_as_real(gradients)).points
    off = float((points - pairs).abs().max()) / (float((pairs - pairs[0]).abs().max()) or 1.0)
    if off < ROUNDING:
        return Finding("as pairs of real ones", off)
    return Finding("not as pairs of real ones; off, of the way gone, by", off, True)


def layouts(subject: BlackBox) -> Finding:
    """Whether non-contiguous parameters step like others, without writes outside of them."""
    x, gradients = noise(1)[0], noise(5, seed=1)
    right = subject.path(x, gradients).points[-1]
    off = {}
    for name, lay in LAYOUTS.items():
        whole, p = lay(x)
        before, p = whole.clone(), p.requires_grad_()
        optimizer = subject.make([p])
        for g in gradients:
            subject.step(optimizer, [(p, g)])
        inside = torch.zeros_like(whole, dtype=torch.bool)
        lay(x, inside)[1].fill_(True)
        if not torch.equal(whole.detach()[~inside], before[~inside]):
            return Finding(f"a {name} one: memory outside of it is written", trouble=True)
        off[name] = float((p.detach() - right).abs().max())
    worst = max(off, key=lambda name: off[name])
    if off[worst] < ROUNDING:
        return Finding("as contiguous ones", off[worst])
    return Finding(f"a {worst} one is stepped wrongly, off by", off[worst], True)


def _transposed(x: Tensor, whole: Tensor | None = None) -> tuple[Tensor, Tensor]:
    whole = x.t().contiguous() if whole is None else whole
    return whole, whole.t()


def _gaps(x: Tensor, whole: Tensor | None = None) -> tuple[Tensor, Tensor]:
    if whole is None:
        whole = torch.zeros(x.shape[0], 2 * x.shape[1], dtype=x.dtype)
        whole[:, ::2] = x
    return whole, whole[:, ::2]


LAYOUTS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "transposed": _transposed,
    "gappy": _gaps,
}


def copies(subject: BlackBox) -> Finding:
    """Whether a copied, pickled or reloaded optimizer continues like the original."""
    ways = {
        "deepcopy": copy.deepcopy,
        "pickle": lambda pair: pickle.loads(pickle.dumps(pair)),
        "state_dict": None,
    }
    ways_by_result: dict[str, list[str]] = {}
    for name, way in ways.items():
        try:
            trouble = _other(subject, way)
        except Exception as error:
            trouble = error_text(error)
        ways_by_result.setdefault(trouble or "continue like the original", []).append(name)
    text = "; ".join(f"{', '.join(names)}: {trouble}" for trouble, names in ways_by_result.items())
    return Finding(text, trouble=set(ways_by_result) != {"continue like the original"})


def _other(subject: BlackBox, way: Callable[[Any], Any] | None) -> str:
    """The fault of such a copy of an optimizer with non-default options; "" if there is none."""
    want = {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.25, "eps": 0.05}
    want = {name: value for name, value in want.items() if name in subject.settable}
    p, gradients = new_parameter(ONES), noise(6)
    optimizer = subject.make([p], **want)
    for g in gradients[:3]:
        subject.step(optimizer, [(p, g)])
    q, other = way((p, optimizer)) if way else _loaded(subject, p, optimizer)
    if not isinstance(other, Optimizer) or q is p:
        return "no copy"
    if lost := [
        key for key in _plain(optimizer) if _plain(other).get(key) != _plain(optimizer)[key]
    ]:
        return f"lost: {', '.join(lost)}"
    for g in gradients[3:]:
        subject.step(optimizer, [(p, g)])
        subject.step(other, [(q, g)])
    off = float((p.detach() - q.detach()).abs().max())
    return f"continue differently, off by {off:.2g}" if off > ROUNDING else ""


def _loaded(
    subject: BlackBox, p: nn.Parameter, optimizer: Optimizer
) -> tuple[nn.Parameter, Optimizer]:
    q = new_parameter(p)
    other = subject.make([q])
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return q, other


def _plain(optimizer: Optimizer) -> dict[str, Any]:
    group = optimizer.param_groups[0]
    return {
        key: value for key, value in group.items() if isinstance(value, int | float | str | tuple)
    }


def noise(steps: int, seed: int = 0) -> Tensor:
    """Normal random numbers, (steps, *SHAPE)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, *SHAPE, dtype=torch.float64, generator=generator)
