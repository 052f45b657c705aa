"""LoRA: the optimizer state of the adapters alone, and B = 0 at first (Hu et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from betaplane.claims.checks import AtMost, Below, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series, Table
from betaplane.claims.follow import Moment
from betaplane.claims.lab import Lab
from betaplane.problems import Problem, digits
from betaplane.replicas import Run
from betaplane.rules import Adam

RANK, HIDDEN, STEPS, LR = 4, 64, 200, 0.01
WIDTH, LAYERS, PUBLISHED = 12_288, 96, 175e9  # GPT-3


def measure(lab: Lab) -> None:
    """Train adapters of a frozen layer, count their state, and read the first steps."""
    losses = []
    for seed in lab.seeds:
        moves: list[tuple[float, float]] = []
        last: dict[str, Tensor] = {}
        outcome = _train(lab, seed, moves, last)
        losses.append(outcome.curve)
        if seed == 0:
            _measure_first_steps(lab, moves)
    lab.measure("first loss", [curve[0] for curve in losses], "nats")
    lab.measure("last loss", [curve[-1] for curve in losses], "nats")
    _measure_sizes(lab)


def _train(lab: Lab, seed: int, moves: list[tuple[float, float]], last: dict[str, Tensor]):
    """A run; `moves` gets the largest changes of A and B at each step, over lr."""
    problem = _adapted()
    start = dict(problem.fresh(seed).named_parameters())

    def look(moment: Moment) -> None:
        named = {name: p.clone() for name, p in moment.params.items()}
        before = last or {name: p.detach() for name, p in start.items()}
        changes = [float((named[n] - before[n]).abs().max()) / LR for n in ("a", "b")]
        moves.append((changes[0], changes[1]))
        last.update(named)

    return lab.follow(problem, Run(Adam(), LR, 32, seed), look)


def _measure_first_steps(lab: Lab, moves: list[tuple[float, float]]) -> None:
    lab.measure("largest change of A at step 1 / lr", moves[0][0])
    lab.measure("largest change of B at step 1 / lr", moves[0][1])
    lab.measure("largest change of A at step 2 / lr", moves[1][0])
    steps = range(1, 31)
    series = [Series(n, steps, [m[i] for m in moves[:30]]) for i, n in enumerate(("A", "B"))]
    title = "Adapters with B = 0 at first"
    lab.draw(Panel(title, "step", "largest change / lr", series))


def _measure_sizes(lab: Lab) -> None:
    """State of adapters of all matrices of width x width, over that of the matrices."""
    rows = []
    for width in (64, 768, 4096, WIDTH):
        adapters = RANK * 2 * width
        rows.append((width, RANK, 8 * width**2 / 1e6, 8 * adapters / 1e6, adapters / width**2))
    columns = ("width", "rank", "state, MB", "of adapters, MB", "share")
    lab.tabulate(Table("Adam's state of one square matrix, float32", columns, rows))
    module = _Adapted()
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    lab.measure("trained elements / r (in + out)", trained / (RANK * (64 + HIDDEN)))
    query_and_value = 2 * LAYERS * RANK * 2 * WIDTH
    note = "175 billion parameters, rank 4 on query and value; stated as about 10,000 times"
    ratio = PUBLISHED / query_and_value
    lab.measure("GPT-3: parameters / trained parameters", ratio, "", 1e4, note)
    lab.measure("GPT-3: adapters in 16 bits", 2 * query_and_value / 2**20, "MiB", 35, "checkpoint")


def _adapted() -> Problem:
    """The digits with a frozen random network whose hidden layer has adapters."""
    problem = digits(steps=STEPS)
    return problem.with_(module=_Adapted)


class _Adapted(nn.Module):
    """Frozen linear layers; the first has W + B A with A random, B = 0."""

    w: Tensor
    head: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("w", torch.randn(HIDDEN, 64) / 8)
        self.register_buffer("head", torch.randn(10, HIDDEN) / 8)
        self.a = nn.Parameter(torch.randn(RANK, 64) / 8)
        self.b = nn.Parameter(torch.zeros(HIDDEN, RANK))

    def forward(self, x: Tensor) -> Tensor:
        hidden = x @ self.w.T + (x @ self.a.T) @ self.b.T
        return hidden.relu() @ self.head.T


CLAIM = Claim(
    name="lora-state",
    title="LoRA: the state of the adapters",
    statement="With LoRA the optimizer stores the moments of the adapters only, r (in + out) instead of "
    "in x out; since B = 0 at first, Adam moves B by lr at the first step and A not at all.",
    sources=(
        Source("E. Hu, Y. Shen, P. Wallis, et al.", 2021, "2106.09685", "Sections 1, 4.1 and 4.2"),
    ),
    setting="Digits, a frozen random network with 64 hidden units, adapters of rank 4 on its first "
    "layer, 200 steps; the sizes of GPT-3 by arithmetic.",
    checks=(
        Near("trained elements / r (in + out)", 1.0, 0),
        AtMost("largest change of A at step 1 / lr", 0.0),
        Near("largest change of B at step 1 / lr", 1.0, 0.01),
        Near("GPT-3: parameters / trained parameters", 1e4, 1e3),
        Near("GPT-3: adapters in 16 bits", 35, 2),
        Below("last loss", "first loss", 0.5),
    ),
    measure=measure,
)
