"""Time of a step of each optimizer, relative to torch's fused AdamW.

`python -m benchmarks.step [one | gpt2 | small | tiny | around ...] [rule ...]`. Each round times both, one
after the other, on separate parameters with the same gradients. The figure is the median of the
ratios, so that other load on the machine affects both. "per byte" divides by the memory traffic of
each: x, g and the state are read, x and the state are written. `around` compares AdamW with
clipping, weight averaging and zeroing in its pass with four calls of torch that do the same. The
spread is the distance of the ratios' quartiles, relative to their median; if it is over 20%, other
load disturbed the measurement.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

import betaplane.optim
from betaplane.optim import dispatch
from betaplane.rules import ALL, by_name

ROUNDS = 7
MIN_TIMING_SECONDS = 0.2
MAX_SPREAD = 0.2


def gpt2() -> Iterator[tuple[int, ...]]:
    """The shapes of the 148 parameters of GPT-2 small, 124M elements."""
    d = 768
    yield from ((50257, d), (1024, d))
    for _ in range(12):
        yield from (
            (d,),
            (d,),
            (3 * d, d),
            (3 * d,),
            (d, d),
            (d,),
            (d,),
            (d,),
            (4 * d, d),
            (4 * d,),
            (d, 4 * d),
            (d,),
        )
    yield from ((d,), (d,))


CASES: dict[str, tuple[str, list[tuple[int, ...]]]] = {
    "one": ("one tensor of 50M", [(50_000_000,)]),
    "gpt2": ("GPT-2's shapes, 124M", list(gpt2())),
    "small": ("2,000 tensors of 1,000", [(1000,)] * 2000),
    "tiny": ("one tensor of 1,000", [(1000,)]),
}


def parameters(shapes: list[tuple[int, ...]]) -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(shape) * 0.02) for shape in shapes]


def timed(step: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - start) / times


def paired(ours: Optimizer, theirs: Optimizer) -> tuple[float, float, float, float]:
    """Seconds per step of each, the median of the ratios, and their spread."""
    for optimizer in (ours, theirs):
        for _ in range(3):
            optimizer.step()
    times = max(1, round(MIN_TIMING_SECONDS / timed(theirs.step, 1)))
    rounds = [(timed(ours.step, times), timed(theirs.step, times)) for _ in range(ROUNDS)]
    seconds, torch_seconds = (statistics.median(side) for side in zip(*rounds, strict=True))
    low, ratio, high = statistics.quantiles([a / b for a, b in rounds], n=4)
    return seconds, torch_seconds, ratio, (high - low) / ratio


def traffic(optimizer: Optimizer) -> float:
    """Memory traffic of a step, in bytes per byte of the parameters."""
    p = max(
        (p for group in optimizer.param_groups for p in group["params"]), key=lambda p: p.numel()
    )
    state_bytes = sum(
        v.numel() * v.element_size()
        for v in optimizer.state[p].values()
        if isinstance(v, torch.Tensor)
    )
    return 3 + 2 * state_bytes / (p.numel() * p.element_size())


def compare(case: str, names: list[str]) -> None:
    label, shapes = CASES[case]
    theirs_p = parameters(shapes)
    for p in theirs_p:
        p.grad = torch.randn_like(p) * 0.01
    theirs = torch.optim.AdamW(theirs_p, fused=True)
    ratio_to = f"the ratio to torch.optim.AdamW(fused=True) (median of {ROUNDS} rounds)"
    print(f"\n{label}: ms per step, and {ratio_to}")
    entries: list[tuple[str, str, dict]] = [(name, name, {}) for name in names]
    if "adamw" in names:
        entries.append(("adamw compiled", "adamw", {"path": "compiled"}))
        if case not in ("small", "tiny"):
            entries += [(f"adamw {s}", "adamw", {"storage": s}) for s in ("bfloat16", "8bit")]
    for label, name, options in entries:
        ours_p = parameters(shapes)
        for p, q in zip(ours_p, theirs_p, strict=True):
            p.grad = q.grad
        ours = getattr(betaplane.optim, by_name(name).__name__)(ours_p, **options)
        seconds, torch_seconds, ratio, spread = paired(ours, theirs)
        per_byte = ratio * traffic(theirs) / traffic(ours)
        how = ", ".join(dispatch.path_names(ours))
        times = f"{seconds * 1e3:8.2f} ({torch_seconds * 1e3:6.2f})"
        quality = f"spread {spread:3.0%}" + (" (noisy: repeat)" if spread > MAX_SPREAD else "")
        print(
            f"  {label:14} {how:9} {times}   {ratio:6.2f} x   {per_byte:6.2f} x per byte   {quality}",
            flush=True,
        )


def around() -> None:
    """Clip, step, average and zero, on GPT-2's shapes."""
    label, shapes = CASES["gpt2"]
    ours_p, theirs_p = parameters(shapes), parameters(shapes)
    gradients = [torch.randn_like(p) * 0.01 for p in ours_p]
    ours = betaplane.optim.AdamW(ours_p, max_norm=1.0, average=0.999, zero=True)
    theirs = torch.optim.AdamW(theirs_p, fused=True)
    averages = [p.detach().clone() for p in theirs_p]

    def four_calls() -> None:
        nn.utils.clip_grad_norm_(theirs_p, 1.0)
        theirs.step()
        torch._foreach_lerp_(averages, [p.detach() for p in theirs_p], 0.001)
        theirs.zero_grad(set_to_none=False)

    rounds = []
    for _ in range(ROUNDS + 1):
        for params in (ours_p, theirs_p):
            for p, g in zip(params, gradients, strict=True):
                p.grad = g.clone()
        rounds.append((timed(ours.step, 1), timed(four_calls, 1)))
    ratio = statistics.median(a / b for a, b in rounds[1:])
    ms, torch_ms = (statistics.median(side) * 1e3 for side in zip(*rounds[1:], strict=True))
    times = f"one pass {ms:.1f} ms, torch's four calls {torch_ms:.1f} ms"
    print(f"\n{label}: clip, step, average and zero: {times}")
    print(f"  {ratio:.2f} x (median of {ROUNDS} rounds)", flush=True)


def main() -> None:
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    names = [rule.__name__.lower() for rule in ALL]
    cases = [argument for argument in sys.argv[1:] if argument in CASES]
    if not cases and "around" not in sys.argv:
        cases = list(CASES)
    rules = [argument for argument in sys.argv[1:] if argument in names]
    for case in cases:
        compare(case, rules or (names if case in ("one", "gpt2") else ["adamw"]))
    if "around" in sys.argv or len(sys.argv) == 1:
        around()


if __name__ == "__main__":
    main()
