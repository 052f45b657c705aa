"""Rows of eps, memory, warmup and carried settings, each from numbers worked on paper."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from betaplane.advice import advise
from betaplane.advice.eps import eps
from betaplane.advice.evidence import LrSweep, evidence
from betaplane.advice.lr import batch_exponent, batch_pairs, lr
from betaplane.advice.measurements import Checkpoint
from betaplane.advice.memory import accumulation, critical_batch, states, zero
from betaplane.advice.recommendation import HEURISTIC, MEASURED, PUBLISHED
from betaplane.advice.run_spec import RunSpec
from betaplane.advice.settings import LR_EXPONENT, Settings, carried, settings
from betaplane.advice.warmup import warmup
from betaplane.errors import BadInput


def of_checkpoint(current: float | None, damped: float, dtype: str = "float32"):
    stored = Checkpoint(Settings(eps=current), 1000, 5.0, damped, 0.0)
    return eps(RunSpec(32.0, dtype=dtype, checkpoint=stored))


EPS = [  # eps of the checkpoint, share of elements below it; value, upper end of the range
    (1e-8, 0.0, 1e-8, 1e-8),
    (1e-8, 0.0099, 1e-8, 1e-8),
    (1e-8, 0.01, 1e-12, 1e-8),
    (1e-4, 0.5, 1e-12, 1e-4),
    (1e-10, 0.5, 1e-14, 1e-10),
    (None, 0.0, 1e-8, 1e-8),
    (1e-8, math.nan, 1e-8, 1e-6),
    (1e-3, math.nan, 1e-3, 1e-3),
]


@pytest.mark.parametrize(("current", "damped", "value", "high"), EPS)
def test_eps_is_reduced_if_it_damps_a_hundredth_of_a_checkpoint(current, damped, value, high):
    row = of_checkpoint(current, damped).row
    assert (row.name, row.low, row.high) == ("eps", 1e-20, pytest.approx(high))
    assert row.value == pytest.approx(value)
    assert row.sources == ("your_checkpoint",)
    assert row.confidence == (HEURISTIC if math.isnan(damped) else MEASURED)
    assert ("reduced to" in row.reason) == (value < (current or 1e-8))
    assert ("eps is unchanged" in row.reason) == math.isnan(damped)
    assert ("times that" in row.reason) == (damped >= 0.01 and (current or 1) <= 1e-8)
    assert ("the default 1e-08" in row.reason) == (damped >= 0.01 and (current or 1) > 1e-8)


def test_an_eps_that_float16_rounds_to_0_is_noted_whatever_it_came_from():
    assert "0 in float16" in of_checkpoint(1e-8, 0.0, "float16").warnings[0]
    assert "0 in float16" in of_checkpoint(1e-8, math.nan, "float16").warnings[0]
    assert of_checkpoint(1e-8, 0.0, "bfloat16").warnings == ()
    assert of_checkpoint(1e-3, 0.0, "float16").warnings == ()
    given = RunSpec(32.0, dtype="float16", before=settings("batch=32,eps=1e-8"))
    assert "0 in float16" in eps(given).warnings[0]
    assert "0 in float16" in eps(RunSpec(32.0, dtype="float16")).warnings[0]


def test_eps_of_large_models_is_smaller():
    assert eps(RunSpec(32.0, params=1e9)).row.value == 1e-15
    assert eps(RunSpec(32.0, params=0.999e9)).row.value == 1e-8
    assert eps(RunSpec(32.0)).row.value == 1e-8
    carried_over = eps(RunSpec(32.0, before=settings("batch=8,eps=2e-8"))).row
    assert (carried_over.value, carried_over.low, carried_over.high) == (1e-8, 1e-20, 1e-6)
    tiny = eps(RunSpec(32.0, before=settings("batch=32,eps=1e-30"))).row
    assert (tiny.low, tiny.value) == (1e-30, 1e-30)


# memory


def test_accumulation_is_useful_up_to_the_critical_batch():
    """512 93.2 M^0.47 tokens for M million parameters: 47,718 for one million."""
    model = RunSpec(1000.0, unit="tokens", params=1e6)
    critical = 512 * 93.2
    assert critical_batch(model) == pytest.approx(critical)
    row = accumulation(model).row
    assert (row.value, row.low, row.high) == (1.0, 1.0, pytest.approx(critical / 1000))
    assert row.formula.startswith("critical batch 4.8e+04 tokens")
    large = accumulation(replace(model, batch=2 * critical))
    assert large.row.high == 1.0
    assert "The batch is 2 times the critical one" in large.warnings[0]
    assert accumulation(replace(model, batch=critical)).warnings == ()
    for other in (replace(model, unit="samples"), replace(model, params=None)):
        assert critical_batch(other) is None
        assert accumulation(other).row.high == 1.0
        assert accumulation(other).row.formula == "1 micro-batch per step"
        assert accumulation(other).warnings == ()


def test_states_are_in_8_bits_if_float32_fits_at_no_stage():
    """1e9 parameters in bfloat16 training take 2 + 2 + 4 + 8 bytes each: 16 GB on one device."""
    run = RunSpec(32.0, dtype="bfloat16", params=1e9, memory=16.0)
    assert states(run, 0.99).row.value == "float32"
    assert states(replace(run, memory=15.9), 0.99).row.value == "8bit"
    assert states(replace(run, memory=15.9, ranks=2), 0.99).row.value == "float32"
    assert states(replace(run, memory=None), 0.99).row.value == "float32"
    assert states(replace(run, params=None), 0.99).row.value == "float32"
    edge = 1 - 2.0**-8
    assert "v rounded to bfloat16 would stop" not in states(run, edge).row.reason
    assert "v rounded to bfloat16 would stop" in states(run, edge + 1e-9).row.reason


def test_the_stage_of_zero_is_the_lowest_that_fits():
    """On 4 devices: 16 GB at stage 0; 12 of 16 bytes are split at 1, 14 at 2, all at 3."""
    run = RunSpec(32.0, dtype="bfloat16", params=1e9, ranks=4)
    sizes = {0: 16.0, 1: 4 + 12 / 4, 2: 2 + 14 / 4, 3: 16 / 4}
    for stage, size in sizes.items():
        row = zero(replace(run, memory=size), "float32").row
        assert (row.value, row.low, row.high) == (stage, 0.0, 3.0)
        assert f"It takes {size:.3g} GB on each of 4 devices, of {size:g} GB," in row.reason
    short = zero(replace(run, memory=3.99), "float32")
    assert (short.row.value, short.warnings) == (
        3.0,
        ("Even stage 3 takes 4 GB per device, of 3.99.",),
    )
    assert zero(replace(run, memory=4.0), "float32").warnings == ()
    alone = zero(replace(run, ranks=1), "float32").row
    assert "It takes 16 GB on the device, without" in alone.reason
    unknown = zero(replace(run, params=None), "float32").row
    assert (unknown.value, unknown.confidence) == (0.0, HEURISTIC)
    full = zero(replace(run, ranks=1, dtype="float32"), "float32").row
    assert "It takes 16 GB" in full.reason  # 4 + 4 + 8


# warmup


def test_warmup_without_a_length_is_two_horizons_of_v():
    row = warmup(RunSpec(32.0), 0.98).row
    assert (row.value, row.low, row.high) == pytest.approx((100, 50, 200))


@pytest.mark.parametrize(
    ("beta2", "value", "words"),
    [
        (0.98, 100, "Then v averages over its whole horizon"),
        (0.9, 50, "5% of the run, longer than the 20 steps"),
        (0.995, 100, "A tenth of the run is 100 steps, the longest"),
    ],
)
def test_warmup_of_a_thousand_steps_is_50_to_100(beta2, value, words):
    row = warmup(RunSpec(1.0, total=1000.0), beta2).row
    assert (row.value, row.low, row.high) == pytest.approx((value, 10, 100))
    assert row.reason.startswith(words)
    even = warmup(RunSpec(1.0, total=640.0), 1 - 1 / 16).row  # both are 32 steps
    assert (even.value, even.reason[:21]) == (32, "Then v averages over ")


@pytest.mark.parametrize(
    ("before", "value", "warned"),
    [(100.0, 100, 0), (101.0, 101, 1), (999.0, 999, 1), (1000.0, 100, 1), (5000.0, 100, 1)],
)
def test_a_carried_warmup_that_does_not_end_is_a_tenth_of_the_run(before, value, warned):
    found = warmup(RunSpec(1.0, total=1000.0, before=Settings(batch=1.0, warmup=before)), 0.98)
    assert (found.row.value, found.row.high) == (value, value)
    assert found.row.low == pytest.approx(min(value, 100))
    assert len(found.warnings) == warned
    chosen = [one for one in found.candidates if one.chosen]
    assert [one.value for one in chosen] == [value]
    unlimited = warmup(RunSpec(1.0, before=Settings(batch=1.0, warmup=before)), 0.98)
    assert (unlimited.row.value, unlimited.warnings) == (before, ())


def test_a_carried_warmup_is_called_rounded_if_it_is_printed_5_percent_off():
    def label(steps: float) -> str:
        run = RunSpec(1.0, before=Settings(batch=1.0, warmup=steps))
        return warmup(run, 0.98).candidates[0].label

    assert label(16_000.0) == "as many samples as before"
    assert label(2.4) == "as many samples, rounded"


def test_settings_are_carried_over_by_the_ratio_of_the_batches():
    """A 2^100th of the batch: lr by 2^-21, decay by 2^-79; a fourth: beta2^(1/4), twice eps, four times
    the warmup.
    """
    far = carried(Settings(2.0**100, lr=1.0, weight_decay=1.0), 1.0)
    assert (far.lr, far.weight_decay) == pytest.approx((2.0**-21, 2.0**-79))
    old = Settings(64.0, 1e-3, 0.9, 0.5**4, 1e-8, 0.1, 100.0)
    new = carried(old, 16.0)
    assert (new.batch, new.beta1, new.warmup) == (16.0, 0.9, 400.0)
    assert (new.beta2, new.eps) == pytest.approx((0.5, 2e-8))
    assert new.lr * new.weight_decay == pytest.approx(1e-4 / 4)
    assert carried(Settings(batch=64.0), 16.0) == Settings(batch=16.0)
    assert carried(Settings(batch=1e9, beta2=0.999999), 1.0).beta2 < 1
    with pytest.raises(BadInput, match="The settings have no batch size"):
        carried(Settings(lr=1.0), 16.0)


# the learning rate


def test_the_exponent_of_lr_is_the_mean_of_the_sources():
    """lr^4 ~ batch and lr^2 ~ batch: 1/4 and 1/2; of one source, the squares of log ratios weigh."""
    quarter = LrSweep("a", "s", batch=(1.0, 16.0), lr=(1e-3, 2e-3))
    half = LrSweep("b", "s", batch=(1.0, 4.0), lr=(1e-3, 2e-3))
    assert batch_exponent([quarter]) == pytest.approx(0.25)
    assert batch_exponent([quarter, half, half]) == pytest.approx(0.375)
    same = replace(half, source="a")
    assert batch_exponent([quarter, same]) == pytest.approx((4 * 1 + 2 * 1) / (16 + 4))
    k, ratio = batch_pairs(LrSweep("a", "s", batch=(1.0, 2.0, 8.0), lr=(1.0, 4.0, 2.0)))
    np.testing.assert_allclose(k / math.log(2), [1, 3, 2])
    np.testing.assert_allclose(ratio / math.log(2), [2, 1, -1])


def test_a_carried_lr_grows_less_than_the_root_of_the_batch():
    """Four times the batch of 8: the range goes from 1 / sqrt(2) to 2 sqrt(2) times the old rate."""
    decision = lr(RunSpec(32.0, before=settings("batch=8,lr=0.01")))
    row, values = decision.row, [one.value for one in decision.candidates]
    assert values == pytest.approx([0.01 * 4**LR_EXPONENT, 0.02, 0.01])
    assert [one.chosen for one in decision.candidates] == [True, False, False]
    assert (row.value, row.low, row.high) == pytest.approx(
        (values[0], 0.01 / math.sqrt(2), 0.02 * math.sqrt(2))
    )
    assert "The best lr rose as batch^" in row.reason
    same = lr(RunSpec(8.0, before=settings("batch=8,lr=0.01"))).row
    assert (same.value, same.reason) == (0.01, "It works at this batch size.")


def test_the_law_of_lr_is_called_extrapolated_outside_of_its_sweeps():
    law = evidence().laws["lr_step_law"]
    inside = {
        "params": float(np.sqrt(law["params"][0] * law["params"][1])),
        "total": float(np.sqrt(law["tokens"][0] * law["tokens"][1])),
    }
    batch = float(np.sqrt(law["batch"][0] * law["batch"][1])) if "batch" in law else 1e5
    run = RunSpec(batch, unit="tokens", **inside)
    decision = lr(run)
    assert (decision.warnings, decision.row.confidence) == ((), PUBLISHED)
    values = [one.value for one in decision.candidates]
    assert decision.row.value == values[0]
    assert decision.row.low == pytest.approx(min(*values, values[0] / 2))
    assert decision.row.high == pytest.approx(max(*values, values[0] * 2))
    for name, field in (("params", "params"), ("tokens", "total")):
        for end, factor in ((0, 0.99), (1, 1.01)):
            assert lr(replace(run, **{field: law[name][end]})).warnings == ()
            beyond = lr(replace(run, **{field: law[name][end] * factor}))
            assert beyond.row.confidence == HEURISTIC
            assert beyond.warnings[0].startswith(f"The law for lr was fitted for {name} ")
    for other in (
        replace(run, params=None),
        replace(run, total=None),
        replace(run, unit="samples"),
    ):
        assert lr(other).row.formula == "torch's default"


def test_a_law_of_lr_is_extrapolated_outside_of_its_range_with_a_warning():
    """Step Law was fitted to 60M to 1.1B parameters, 2B to 100B tokens, and 49k to 4.2M per step."""
    inside = {"batch_tokens": 524_288, "tokens": 10e9, "params": 124e6}
    changes = {"params": (5e7, 2e9), "tokens": (1e9, 2e11), "batch_tokens": (4e4, 5e6)}
    said = "The law for lr was fitted for "

    def warned(**run: float) -> list[str]:
        found = advise(**run)
        notes = [note for note in found.warnings if note.startswith(said)]
        assert found["lr"].confidence == (HEURISTIC if notes else PUBLISHED)
        return notes

    assert warned(**inside) == []
    for name, values in changes.items():
        for value in values:
            [note] = warned(**{**inside, name: value})
            assert note.startswith(f"{said}{name.removesuffix('_tokens')} ")
            assert note.endswith("; here it is extrapolated: sweep lr.")
    [note] = warned(batch_tokens=1e6, tokens=1e12, params=7e9)
    assert "params 6e+07 to 1.1e+09, tokens 2e+09 to 1e+11;" in note
