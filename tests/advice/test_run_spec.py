"""What a run may be, what follows from its lengths, and what is said of one that cannot be."""

from __future__ import annotations

import pytest

from betaplane.advice import advise
from betaplane.advice.run_spec import RunSpec, check_ranges
from betaplane.advice.settings import Settings
from betaplane.errors import BadInput


def test_steps_and_minibatches_are_lengths_over_the_batch() -> None:
    run = RunSpec(32, total=6400, epoch=640)
    assert (run.steps, run.minibatches) == (200, 20)
    assert (RunSpec(32).steps, RunSpec(32).minibatches) == (None, None)
    assert RunSpec(32, total=6400).minibatches is None
    assert RunSpec(32, unit="tokens", total=6400).minibatches == 200  # each token is seen once


def test_factor_is_that_of_the_batch_sizes() -> None:
    assert RunSpec(32).factor == 1
    assert RunSpec(32, before=Settings(lr=0.1)).factor == 1
    assert RunSpec(32, before=Settings(batch=128)).factor == 0.25
    assert RunSpec(32).carried == Settings()
    assert RunSpec(32, before=Settings(batch=32, lr=0.5)).carried.lr == 0.5


def test_unknown_run_is_of_samples_in_float32_on_one_device() -> None:
    run = RunSpec(32)
    assert (run.unit, run.dtype, run.ranks) == ("samples", "float32", 1)
    assert (run.total, run.epoch, run.params, run.memory, run.before) == (None,) * 5
    assert (run.map, run.replay, run.checkpoint) == (None,) * 3


def test_run_of_exactly_one_batch_is_a_run() -> None:
    assert RunSpec(32, total=32, epoch=32).steps == 1
    assert RunSpec(1, ranks=1).ranks == 1


FAULTS = [
    (
        {"epoch": 31},
        "The batch is larger than the data: got 31; expected [32, inf) samples "
        "(dataset_size, epochs). Try: batch_size=31",
    ),
    ({"epoch": 0.5}, "Try: batch_size=1"),
    ({"total": 31.5}, "The run is shorter than one batch: got 31.5; expected [32, inf) samples"),
    (
        {"total": 31, "unit": "tokens"},
        "The run is shorter than one batch: got 31; expected [32, inf) tokens (tokens). "
        "Try: tokens=3200",
    ),
    ({"ranks": 0}, "ranks is out of range: got 0; expected 1, 2, 3, ... (ranks). Try: ranks=8"),
    ({"ranks": 1.5}, "ranks is out of range: got 1.5"),
    ({"ranks": "2"}, "ranks is not a number: got '2'"),
    ({"dtype": "int8"}, "Unknown dtype 'int8'"),
]


@pytest.mark.parametrize(("changes", "text"), FAULTS, ids=[text[:40] for _, text in FAULTS])
def test_a_run_that_cannot_be_gets_one_sentence(changes: dict, text: str) -> None:
    with pytest.raises(BadInput) as raised:
        RunSpec(32, **changes)
    assert text in str(raised.value)


def test_arguments_reach_both_ends_of_their_ranges() -> None:
    least = {
        "batch_size": 1,
        "batch_tokens": 1,
        "dataset_size": 1,
        "tokens": 1,
        "params": 1,
        "epochs": 1e-9,
        "memory": 1e-9,
    }
    for name, value in least.items():
        check_ranges(**{name: value})
        check_ranges(**{name: 1e18})
        check_ranges(**{name: None})
        for bad in (0.999 if value == 1 else 0, 1.001e18, "1"):
            with pytest.raises(BadInput, match=name):
                check_ranges(**{name: bad})
    with pytest.raises(BadInput) as raised:
        check_ranges(epochs=0)
    assert "expected (0, 1e18] (epochs). Try: epochs=10" in str(raised.value)


def test_epochs_over_the_data_are_the_length_of_the_run() -> None:
    """312.5 steps: 10 epochs of 1000 samples in batches of 32."""
    assert "312 steps, 31 per epoch" in str(advise(32, dataset_size=1000, epochs=10))
    assert "steps" not in str(advise(32, dataset_size=1000)).splitlines()[0]


def test_the_batch_is_given_once_and_may_come_from_settings() -> None:
    before = "batch=512,lr=3e-4"
    assert "batch of 512 samples, 1 times" in str(advise(before=before)).splitlines()[0]
    assert "batch of 64 samples, 0.125 times" in str(advise(64, before=before)).splitlines()[0]
    assert "batch of 64 tokens" in str(advise(batch_tokens=64)).splitlines()[0]
    for given, got in (
        ({"batch_size": 32, "batch_tokens": 64}, "given twice: got (32, 64)"),
        ({"batch_size": 32, "before": before, "after": "batch=64"}, "given twice: got (32, 64.0)"),
        ({}, "The batch size is missing"),
        ({"before": "lr=3e-4"}, "The batch size is missing"),
    ):
        with pytest.raises(BadInput) as raised:
            advise(**given)
        assert got in str(raised.value)
