"""What decides between the sources of the advice: the unit of the batch, its size, what is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from betaplane.advice import advise
from betaplane.advice.beta1 import beta1
from betaplane.advice.beta2 import TUNE_RUNS, beta2
from betaplane.advice.beta2 import window as window_of
from betaplane.advice.evidence import Evidence, Experiment, evidence
from betaplane.advice.measurements import Threshold
from betaplane.advice.recommendation import HEURISTIC, MEASURED, PUBLISHED, Recommendation
from betaplane.advice.run_spec import RunSpec
from betaplane.advice.settings import Settings, settings
from betaplane.errors import BadInput
from betaplane.maps.tune import MAX_RUNS

LANGUAGE = {"batch_tokens": 524_288, "tokens": 10e9, "params": 124e6, "dtype": "bf16"}
IMAGES = {"batch_size": 32, "dataset_size": 60_000, "epochs": 10}
CARRIED = {"before": "batch=512,lr=3e-4,betas=0.9,0.95,wd=0.1,warmup=2000", "after": "batch=64"}
RUNS = {"tokens": LANGUAGE, "samples": IMAGES, "carried": CARRIED}

CITED = [  # run, row, sources that its reason rests on
    ("tokens", "beta1", {"wen2025", "orvieto2025"}),
    ("samples", "beta1", {"dahl2023", "zhang2022"}),
    ("carried", "beta1", {"marek2025"}),
    ("samples", "beta2", {"torch", "dahl2023"}),
    ("carried", "beta2", {"marek2025"}),
    ("tokens", "lr", {"li2025"}),
    ("samples", "lr", {"torch"}),
    ("carried", "lr", {"malladi2022", "marek2025", "orvieto2025", "li2025"}),
    ("tokens", "weight_decay", {"bergsma2025", "wang2024"}),
    ("samples", "weight_decay", {"loshchilov2019", "wang2024"}),
    ("carried", "weight_decay", {"bergsma2025", "wang2024"}),
]


@pytest.mark.parametrize(
    ("run", "name", "sources"), CITED, ids=[f"{run}-{name}" for run, name, _ in CITED]
)
def test_a_row_cites_publications_of_its_own_kind_of_run(run, name, sources):
    row = advise(**RUNS[run])[name]
    assert set(row.sources) == sources
    language = {"wen2025", "li2025", "brown2020"}
    assert run != "samples" or not language & set(row.sources)


HABITS = [("tokens", "beta2", 0.95), ("samples", "beta2", 0.999), ("carried", "beta2", 0.999)]


@pytest.mark.parametrize(("run", "name", "value"), HABITS, ids=str)
def test_the_habit_is_that_of_language_models_or_of_torch(run, name, value):
    [habit] = [one for one in advise(**RUNS[run]).candidates[name] if one.label == "habit"]
    assert habit.value == value
    assert habit.sources == (("brown2020",) if run == "tokens" else ("torch",))


def test_sources_are_listed_once_each_in_alphabetical_order():
    found = advise(**LANGUAGE)
    assert list(found.sources) == sorted(found.sources)
    cited = {name for row in found.rows for name in row.sources}
    cited |= {name for held in found.candidates.values() for one in held for name in one.sources}
    assert set(found.sources) == cited


def test_maps_and_recordings_count_samples(tmp_path: Path):
    for which in ("map", "replay"):
        with pytest.raises(BadInput, match="Maps and recordings count samples"):
            advise(batch_tokens=1024, **{which: tmp_path / "none"})


def test_a_setting_without_betas_carries_none_over():
    found = advise(before="batch=512,lr=3e-4", after="batch=64")
    labels = {name: [one.label for one in held] for name, held in found.candidates.items()}
    assert labels["beta1"] == []
    assert "same half-life (Marek et al.)" not in labels["beta2"]
    assert found["beta1"].value == 0.9
    partly = advise(before="batch=512,beta1=0.8", after="batch=64")
    assert "same half-life (Marek et al.)" not in [one.label for one in partly.candidates["beta2"]]


# the evidence


def experiments(*best: float, unit: str = "samples", **changes) -> Evidence:
    """Evidence of one experiment for each beta2, at a batch of 1, each of its own source."""
    all_of = tuple(
        Experiment(f"s{i}", "", unit, 1.0, (beta2,), **changes) for i, beta2 in enumerate(best)
    )
    return Evidence({}, all_of, {})


def test_few_sources_that_agree_are_not_known_to_agree():
    """0.5^(1/8) has a half-life of 8 samples; one sweep says nothing about the next one."""
    one, two, six = (experiments(*[0.5 ** (1 / 8)] * n).half_lives("samples") for n in (1, 2, 6))
    for found in (one, two, six):
        assert math.sqrt(found.low * found.high) == pytest.approx(8, rel=1e-3)
        assert found.low < found.point < found.high
    assert one.decades > two.decades > six.decades
    assert (one.known, six.known) == (False, True)


def test_an_experiment_with_several_best_values_counts_as_their_geometric_mean():
    found = Experiment("s", "", "tokens", 100.0, (0.5, 0.5 ** (1 / 4)))
    assert found.half_life == pytest.approx(200)


def test_the_shortest_of_several_best_values_counts_for_the_warning():
    several = (Experiment("s", "", "samples", 1.0, (0.5**0.25, 0.5, 0.5**0.1)),)
    assert Evidence({}, several, {}).shortest_half_life("samples") == pytest.approx(1)


def test_evidence_without_a_source_lacks_its_experiments_and_sweeps():
    kept = evidence().without("li2025", "wen2025")
    for part, whole in (
        (kept.experiments, evidence().experiments),
        (kept.lr_sweeps, evidence().lr_sweeps),
    ):
        assert list(part) == [one for one in whole if one.source not in ("li2025", "wen2025")]
        assert 0 < len(part) < len(whole)


def test_the_shortest_best_half_life_is_of_values_with_worse_ones_on_both_sides():
    assert experiments(0.5, 0.5**0.25).shortest_half_life("samples") == pytest.approx(1)
    assert experiments(0.5, unit="tokens").shortest_half_life("samples") is None
    for kind, counts in (("optimum", True), ("search", True), ("end", False), ("fixed", False)):
        found = experiments(0.5, kind=kind).shortest_half_life("samples")
        assert (found is not None) == counts


# the lengths of a run


@pytest.mark.parametrize(
    ("name", "smallest", "example"),
    [
        ("batch_size", "[1, 1e18]", "32"),
        ("batch_tokens", "[1, 1e18]", "524288"),
        ("dataset_size", "[1, 1e18]", "60000"),
        ("tokens", "[1, 1e18]", "1e+10"),
        ("epochs", "(0, 1e18]", "10"),
        ("params", "[1, 1e18]", "1.24e+08"),
        ("memory", "(0, 1e18]", "80"),
    ],
)
def test_an_argument_out_of_range_gets_its_range_and_an_example(name, smallest, example):
    needed = {"tokens": {"batch_tokens": 1}, "batch_tokens": {}}.get(name, {"batch_size": 1})
    for value in (0, -1.0, 1.01e18, math.inf, math.nan):
        with pytest.raises(BadInput) as raised:
            advise(**{**needed, name: value})
        text = str(raised.value)
        assert text.startswith(f"{name} is out of range: got ")
        assert text.endswith(f"expected {smallest} ({name}). Try: {name}={example}")


def test_a_setting_out_of_range_gets_its_range_and_an_example():
    for name, outside, text in (
        ("batch", 0.5, "[1, inf) (settings). Try: batch=64"),
        ("lr", 0.0, "(0, inf) (settings). Try: lr=3e-4"),
        ("beta1", 1.0, "[0, 1) (settings). Try: beta1=0.9"),
        ("beta2", 1.0, "[0, 1) (settings). Try: beta2=0.999"),
        ("eps", -1e-9, "[0, inf) (settings). Try: eps=1e-8"),
        ("weight_decay", -1e-9, "[0, inf) (settings). Try: wd=0.1"),
        ("warmup", -1.0, "[0, inf) (settings). Try: warmup=2000"),
    ):
        for value in (outside, math.inf, math.nan):
            with pytest.raises(BadInput) as raised:
                Settings(**{name: value})
            assert str(raised.value).endswith(text)
    at_ends = Settings(batch=1.0, lr=1e-300, beta1=0.0, beta2=0.0, eps=0.0, weight_decay=0.0)
    assert (at_ends.batch, at_ends.beta1, at_ends.warmup) == (1.0, 0.0, None)


def test_names_of_settings_have_short_forms():
    assert settings("wd=0.1,batch_size=8,warmup_steps=5") == Settings(
        batch=8, weight_decay=0.1, warmup=5
    )
    assert settings({"betas": (0.8, 0.9), "lr": 1}) == Settings(lr=1.0, beta1=0.8, beta2=0.9)
    for bad in ("", "betas=0.9", "lr=", "0.9", "betas=0.9,0.95,0.99", "lr=1,,"):
        with pytest.raises(BadInput):
            settings(bad)


# beta2


def test_a_row_of_beta2_is_clipped_to_the_run():
    """Ten steps of horizon in a run of 100: 0.9; never below beta1, whatever the formula gives."""
    run = RunSpec(32.0, total=3200.0, before=settings("batch=32,betas=0.5,0.999"))
    assert beta2(replace(run, before=settings("batch=64,betas=0.5,0.999")), 0.5).row.value == 0.9
    assert beta2(run, 0.5).row.value == 0.999  # it works at this batch size
    assert beta2(replace(run, before=settings("batch=32,beta2=0.3")), 0.9).row.value == 0.9
    assert beta2(RunSpec(32.0, total=32.0), 0.0).row.value == 0.5


def replayed(threshold: float, run: RunSpec, changed: str = "") -> Recommendation:
    return beta2(replace(run, replay=Threshold(threshold, 0.5, 100, changed)), 0.5).row


def test_a_threshold_of_recorded_gradients_raises_the_window_and_then_the_value():
    """0.99 at the same batch has the window 0.96 to 0.9975: horizons of a quarter to four times."""
    run = RunSpec(32.0, before=settings("batch=32,betas=0.5,0.99"))
    alone = beta2(run, 0.5).row
    assert (alone.value, alone.low, alone.high) == pytest.approx((0.99, 0.96, 0.9975))
    for below in (math.nan, 0.0, 0.95, alone.low):
        assert replayed(below, run) == alone
    inside = replayed(0.98, run)
    assert (inside.value, inside.low, inside.high) == (0.99, 0.98, alone.high)
    assert (inside.sources, inside.confidence) == (("your_gradients", "marek2025"), PUBLISHED)
    for at in (0.99, 0.995):
        above = replayed(at, run)
        assert (above.value, above.low, above.confidence) == (at, at, MEASURED)
        assert above.high == pytest.approx(1 - (1 - at) / 4)
        assert above.formula.startswith("threshold of 100 minibatches replayed at beta1 = 0.5; the")
    assert ", batches averaged; then beta2^k" in replayed(0.995, run, changed="averaged").formula


def test_a_raised_value_keeps_a_higher_end_of_its_window():
    run = RunSpec(1.0, evidence=experiments(0.5 ** (1 / 2), 0.5 ** (1 / 2000)))
    assert beta2(run, 0.5).row.reason.startswith("Nothing is known for this kind of data")
    for threshold, value in ((0.98, 0.999), (0.9995, 0.9995)):
        row = replayed(threshold, run)
        assert (row.value, row.low, row.high) == (value, threshold, 0.99999)


@pytest.mark.parametrize(
    ("unit", "habit", "source"), [("samples", 0.999, "torch"), ("tokens", 0.95, "brown2020")]
)
def test_without_sweeps_of_its_unit_the_habit_is_taken(unit, habit, source):
    run = RunSpec(1.0, unit=unit, evidence=Evidence({}, (), {}))
    row = beta2(run, 0.0).row
    assert (row.value, row.low, row.high) == (habit, 0.0, 0.99999)
    assert (row.sources, row.confidence) == ((source,), HEURISTIC)
    assert window_of(run, 0.0) == (0.0, 0.99999)
    assert window_of(run, 0.9) == (pytest.approx(0.81), 0.99999)
    assert replayed(0.3, run).low == 0.3


def test_where_sweeps_disagree_the_habit_or_the_shortest_best_half_life_is_taken():
    """At a batch of 1, half-lives of 2 and 2,000, and of 2,000 and 2,000,000 samples."""
    low, high = (
        RunSpec(1.0, evidence=experiments(0.5 ** (1 / n), 0.5 ** (1e-3 / n))) for n in (2, 2000)
    )
    habit, shortest = beta2(low, 0.5).row, beta2(high, 0.5).row
    assert (habit.value, shortest.value) == (0.999, pytest.approx(0.5 ** (1 / 2000)))
    assert habit.formula.startswith("habit; the best half-lives of published searches spread over")
    assert shortest.formula.startswith("2^(-batch / 2e+03), the shortest half-life of")
    assert habit.sources == shortest.sources == ("torch", "s0", "s1")
    for row in (habit, shortest):
        assert (row.low, row.high, row.confidence) == (0.25, 0.99999, HEURISTIC)
    ends = RunSpec(1.0, evidence=experiments(0.5, 0.5**1e-4, kind="end"))
    assert beta2(ends, 0.5).row.value == 0.999


def test_a_carried_beta1_is_marked_beside_its_scaled_value():
    """1 - k (1 - beta1): 0 for twice the batch of 0.5, below 0 for more."""

    def decided(batch: float, value: float):
        return beta1(RunSpec(batch, before=settings(f"batch=8,beta1={value}")))

    twice = decided(16.0, 0.5)
    assert [(one.value, one.chosen) for one in twice.candidates] == [(0.5, True), (0.0, False)]
    assert [one.value for one in decided(17.0, 0.5).candidates] == [0.5]
    assert decided(4.0, 0.5).candidates[1].value == 0.75
    assert (decided(8.0, 0.9).row.confidence, twice.row.confidence) == (PUBLISHED, HEURISTIC)
    assert (decided(8.0, 0.7).row.low, decided(8.0, 0.97).row.high) == (0.7, 0.97)
    assert (decided(8.0, 0.97).row.low, decided(8.0, 0.7).row.high) == (0.8, 0.95)


def test_a_range_is_printed_if_it_has_two_ends():
    row = Recommendation("lr", 1e-3, 1e-4, 1e-2, "", "", (), "")
    assert row.range == "[0.0001, 0.01]"
    assert replace(row, low=None).range == replace(row, high=None).range == ""


def test_where_nothing_is_known_the_default_is_raised_to_the_shortest_half_life():
    """Sweeps at 2000 and 2e6 steps: 0.999 has a half-life of 693 steps, so it is raised."""
    searched = experiments(0.5 ** (1 / 2000), 0.5 ** (1 / 2e6))
    row = beta2(RunSpec(1.0, evidence=searched), 0.5).row
    assert row.value == pytest.approx(0.5 ** (1 / 2000))
    assert row.formula.startswith("2^(-batch / 2e+03), the shortest")
    ends = experiments(0.5 ** (1 / 2000), 0.5 ** (1 / 2e6), kind="end", next=0.1)
    row = beta2(RunSpec(1.0, evidence=ends), 0.5).row
    assert (row.value, row.formula[:6]) == (0.999, "habit;")


def test_the_advice_to_measure_names_the_runs_that_tune_takes():
    assert TUNE_RUNS == MAX_RUNS


def test_the_package_has_evidence_of_both_units():
    for unit in ("tokens", "samples"):
        spread, shortest = evidence().half_lives(unit), evidence().shortest_half_life(unit)
        assert 0 < spread.low < spread.point < spread.high
        assert shortest < spread.point
