"""The evidence: its form, and what is read from an entry."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from betaplane.advice import Evidence, evidence
from betaplane.advice.evidence import FILE, UNITS, VERIFIED
from betaplane.errors import BadInput

ALL = evidence()


@pytest.mark.parametrize("name", ALL.sources)
def test_source_is_complete(name):
    source = ALL.sources[name]
    assert source.authors
    assert 2010 < source.year < 2100
    assert source.setting
    assert source.verified in VERIFIED
    assert (not source.arxiv) or len(source.arxiv) in (9, 10)
    assert str(source).startswith(source.authors)


@pytest.mark.parametrize(
    "one", ALL.experiments, ids=lambda one: f"{one.source}: {one.setting[:30]}"
)
def test_an_experiment_has_its_form(one):
    assert one.source in ALL.sources
    assert one.unit in UNITS
    assert one.batch > 0
    assert all(0 < beta2 < 1 for beta2 in one.best)
    assert one.half_life > 0


@pytest.mark.parametrize("name", ALL.laws)
def test_a_law_is_numbers_with_a_source(name):
    law = dict(ALL.laws[name])
    assert law.pop("source") in ALL.sources
    assert law
    assert all(isinstance(number, int | float | list) for number in law.values())


def test_defaults_of_torch_equal_the_evidence():
    said = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
    defaults = torch.optim.AdamW([torch.ones(1)]).defaults
    assert {name: defaults[name] for name in said} == said
    assert ALL.sources["torch"].setting == (
        "defaults of AdamW: lr 1e-3, betas (0.9, 0.999), eps 1e-8, weight_decay 0.01"
    )


def test_values_that_were_held_fixed_do_not_move_the_center():
    used = [e for e in ALL.experiments if e.kind != "fixed"]
    assert len(used) < len(ALL.experiments)
    others = Evidence(ALL.sources, tuple(used), ALL.laws)
    assert others.half_lives("tokens") == ALL.half_lives("tokens")


def test_mixtures_of_experts_are_held_out():
    dense = [e for e in ALL.experiments if e.model == "dense"]
    assert len(dense) < len(ALL.experiments)
    others = Evidence(ALL.sources, tuple(dense), ALL.laws)
    assert others.half_lives("tokens") == ALL.half_lives("tokens")


HEAD = '[sources.a]\nauthors="A"\nyear=2020\nsetting="s"\nverified="read"\n[laws]\n'
LR_SWEEP = '\n[[lr_sweeps]]\nsource = "a"\nsetting = "s"\nbatch = [1, 2]\nlr = [1e-3, 2e-3]\n'
GOOD = {"source": '"a"', "setting": '"s"', "unit": '"tokens"', "batch": "1", "best": "[0.9]"}


def experiment(**changes: str) -> str:
    """A file with one experiment."""
    return f"{HEAD}[[experiments]]\n" + "\n".join(
        f"{name}={value}" for name, value in (GOOD | changes).items()
    )


BROKEN = {
    "sources = 1": "An entry has the wrong fields",
    "[sources": "The evidence cannot be read",
    "experiments = []\n"
    + HEAD.replace(
        "read", "maybe"
    ): "Unknown value of verified in source a: 'maybe'. Choose one of: read, ",
    f"experiments = []\n{HEAD}[laws.b]\nx=1": "Unknown source in law b: None. Choose one of: a (",
    experiment(source='"b"'): "Unknown source in an experiment: 'b'. Choose one of: a (",
    experiment(
        unit='"bytes"'
    ): "Unknown unit in an experiment of a: 'bytes'. Choose one of: tokens, samples (",
    experiment(best="[1.0]"): "An experiment of a needs batch > 0 and every best in (0, 1)",
    experiment(
        kind='"best"'
    ): "Unknown kind in an experiment of a: 'best'. Choose one of: optimum, ",
    experiment(batch="0"): "An experiment of a needs batch > 0",
    experiment(speed="1"): "An entry has the wrong fields",
    experiment(kind='"end"'): "An end of a sweep of a needs next, the beta2 before it",
    experiment(
        model='"3"'
    ): "Unknown model in an experiment of a: '3'. Choose one of: dense, experts",
    experiment(betas="[0.9, 0.99]", losses="[1.0]"): "An entry has the wrong fields",
    experiment() + LR_SWEEP.replace("[1e-3, 2e-3]", "[1e-3]"): "A sweep of lr of a needs one",
    experiment() + LR_SWEEP.replace("[1e-3, 2e-3]", "[1e-3, 0.0]"): "A sweep of lr of a needs one",
    experiment(best="[0.0]"): "An experiment of a needs batch > 0 and every best in (0, 1)",
    experiment() + LR_SWEEP.replace('"a"', '"b"'): "Unknown source in a sweep of lr: 'b'.",
}


@pytest.mark.parametrize(("text", "message"), BROKEN.items(), ids=list(BROKEN.values()))
def test_invalid_file_is_rejected(text, message, tmp_path: Path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(BadInput) as error:
        evidence(tmp_path / "mine.toml")
    assert message in str(error.value)


def test_valid_file_is_read(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(experiment() + LR_SWEEP)
    contents = evidence(tmp_path / "mine.toml")
    assert len(contents.experiments) == len(contents.lr_sweeps) == 1


def grid(losses: tuple[float, ...], tmp_path: Path):
    """The experiment of a grid with betas 0.8, 0.9 and 0.95, in another order."""
    entry = experiment(betas="[0.9, 0.8, 0.95]", losses=f"[{losses[1]}, {losses[0]}, {losses[2]}]")
    (tmp_path / "mine.toml").write_text(entry.replace("best=[0.9]", ""))
    return evidence(tmp_path / "mine.toml").experiments[0]


def steps(beta2: float) -> float:
    """log10 of the half-life, by its formula."""
    return math.log10(math.log(0.5) / math.log(beta2))


def test_the_lowest_loss_inside_of_a_grid_is_an_optimum(tmp_path):
    one = grid((1.2, 1.0, 1.1), tmp_path)
    assert (one.best, one.kind, one.observation.side) == ((0.9,), "optimum", 0)
    assert one.observation.value == pytest.approx(steps(0.9))


@pytest.mark.parametrize(
    ("losses", "best", "before", "side"),
    [((1.2, 1.1, 1.0), 0.95, 0.9, 1), ((1.0, 1.1, 1.2), 0.8, 0.9, -1)],
)
def test_the_lowest_loss_at_an_end_of_a_grid_is_a_bound(losses, best, before, side, tmp_path):
    one = grid(losses, tmp_path)
    assert (one.best, one.kind, one.observation.side) == ((best,), "end", side)
    assert one.observation.value == pytest.approx((steps(best) + steps(before)) / 2)


def test_a_flat_optimum_is_less_certain_than_a_sharp_one(tmp_path):
    sharp, flat = (
        grid((1 + rise, 1.0, 1 + rise), tmp_path / str(rise)).observation
        for rise in (0.1, 0.001)
        if (tmp_path / str(rise)).mkdir() is None
    )
    assert sharp.value == flat.value
    assert flat.deviation > 3 * sharp.deviation > 0


def test_file_of_the_user_is_used(tmp_path: Path):
    mine = tmp_path / "mine.toml"
    extra = '[[experiments]]\nsource = "orvieto2025"\nsetting = "mine"\n'
    extra += 'unit = "tokens"\nbatch = 1e6\nbest = [0.999]\n\n'
    mine.write_text(FILE.read_text().replace("[[experiments]]", f"{extra}[[experiments]]", 1))
    assert len(evidence(mine).experiments) == len(ALL.experiments) + 1
