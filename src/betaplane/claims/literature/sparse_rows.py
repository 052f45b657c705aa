"""Frequent and rare rows of an embedding (Duchi et al. 2011)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.claims.checks import Below
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series, Table
from betaplane.claims.lab import Lab
from betaplane.problems import Problem, sparse
from betaplane.replicas import Run
from betaplane.rules import SGD, Adagrad, Adam, RMSprop
from betaplane.rules._rule import Rule

STEPS, WORDS, RARE = 600, 300, 100  # rows from RARE on are rare: the last two thirds
CONTENDERS: Mapping[str, Rule] = {
    "SGD": SGD(),
    "Adagrad": Adagrad(),
    "RMSprop": RMSprop(),
    "Adam": Adam(),
}
LRS = {
    "SGD": (0.3, 1.0, 3.0, 10.0),
    "Adagrad": (0.1, 0.3, 1.0, 3.0),
    "RMSprop": (0.003, 0.01, 0.03, 0.1),
    "Adam": (0.01, 0.03, 0.1, 0.3),
}


def measure(lab: Lab) -> None:
    """Final losses at tuned learning rates, and how far the rare rows have moved."""
    problem = _problem()
    tuned = lab.tune(problem, CONTENDERS, LRS)
    series, rows = [], []
    for name, rule in CONTENDERS.items():
        runs = [Run(rule, tuned.lr(name), problem.batch_size, seed) for seed in lab.seeds]
        outcomes = lab.train(problem, runs)
        lab.measure(f"{name}: final loss", [o.final for o in outcomes], "nats")
        shares = [float(o.held_out[-1]) for o in outcomes if o.held_out is not None]
        lab.measure(f"{name}: mean |weight| of rare rows / of frequent rows", shares)
        curves = np.array([o.curve for o in outcomes])
        steps = np.linspace(0, STEPS, curves.shape[1] + 1)[1:]
        series.append(Series(name, steps, curves.mean(0), curves.min(0), curves.max(0)))
        rows.append((name, tuned.lr(name), float(np.mean(shares))))
    columns = ("rule", "lr", "rare / frequent |weight|")
    lab.tabulate(Table("How far the rare rows moved", columns, rows))
    title = "300 words with Zipf's frequencies"
    lab.draw(Panel(title, "step", "training loss, nats", series, y_scale="log"))


def _problem() -> Problem:
    problem = sparse(words=WORDS, steps=STEPS, batch_size=32)
    first = problem.inputs[:1], problem.targets[:1]
    return problem.with_(validation=first, metric=_rare_share)


def _rare_share(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The mean |weight| of the rare rows over that of the frequent ones."""
    del batch
    assert isinstance(model.rows, nn.Embedding)
    size = torch.abs(model.rows.weight)
    return size[RARE:].mean() / size[: RARE // 10].mean()


CLAIM = Claim(
    name="sparse-rows",
    title="Rare words in an embedding",
    statement="On sparse features rules that scale each coordinate end at a lower loss than SGD at "
    "tuned learning rates, since the rows of rare words move.",
    sources=(
        Source(
            "J. Duchi, E. Hazan, Y. Singer", 2011, "jmlr.org/papers/v12/duchi11a", "Section 1.3"
        ),
        Source("D. P. Kingma, J. Ba", 2015, "1412.6980", "Section 6.1 (IMDB)"),
    ),
    setting="Logistic regression on bags of 16 of 300 words with frequencies k^-1.5, 600 steps of 32 "
    "texts, constant learning rates. Rare rows are those of words 101 to 300, frequent ones the first "
    "ten.",
    checks=(
        *(
            Below(f"{name}: final loss", "SGD: final loss")
            for name in ("Adagrad", "RMSprop", "Adam")
        ),
        *(
            Below(
                "SGD: mean |weight| of rare rows / of frequent rows",
                f"{name}: mean |weight| of rare rows / of frequent rows",
            )
            for name in ("Adagrad", "RMSprop", "Adam")
        ),
    ),
    measure=measure,
)
