"""Values, ranges and candidates of the advice, each computed here from the formula that its row
names.
"""

from __future__ import annotations

import math

import pytest

from betaplane.advice import advise, carried, optuna_betas, settings
from betaplane.advice.recommendation import Candidate, disagreement, mark_chosen, rounded
from betaplane.text import format_beta, format_number

LM = {"batch_tokens": 524_288, "tokens": 10e9, "params": 124e6, "dtype": "bf16"}
STEPS = 10e9 / 524_288
BEST_BATCH = 1.79 * 124e6**-0.713 * 10e9**0.307
LR = BEST_BATCH * (524_288 / (0.58 * 10e9**0.571)) ** 0.21
DEEPSEEK, PORIAN = 0.3118 * (6 * 124e6 * 10e9) ** -0.125, 3.7 * 124e6**-0.36
DECAY = 1 / (LR * STEPS * 1.084 * (10e9 / 124e6) ** -0.527)
IMAGES = {"batch_size": 32, "dataset_size": 60_000, "epochs": 10}  # 18,750 steps
NORMALIZED = 0.05 * math.sqrt(32 / 600_000) / 1e-3
CARRY = {
    "before": "batch=512,lr=3e-4,betas=0.9,0.95,eps=1e-8,wd=0.1,warmup=2000",
    "after": "batch=64",
}
CHAIN = 0.95**0.125
# (1 - beta1) / sqrt((1 - beta2) (1 - beta1^2 / beta2))
BOUND = 0.1 / math.sqrt((1 - CHAIN) * (1 - 0.81 / CHAIN))
CRITICAL = 512 * 93.2 * 124**0.47  # tokens

ROWS = [  # said, row, value, low, high
    (LM, "beta1", 0.9, 0.8, 0.95),
    (LM, "lr", LR, min(LR / 2, DEEPSEEK, PORIAN), max(LR * 2, DEEPSEEK, PORIAN)),
    (LM, "eps", 1e-8, 1e-20, 1e-6),
    (LM, "warmup", 0.05 * STEPS, 0.01 * STEPS, 0.1 * STEPS),
    (LM, "weight_decay", DECAY, DECAY / 2, DECAY * 2),
    (LM, "gradient accumulation", 1.0, 1.0, max(1.0, CRITICAL / 524_288)),
    ({**LM, "params": 7e9}, "gradient accumulation", 1.0, 1.0, 512 * 93.2 * 7000**0.47 / 524_288),
    ({**LM, "params": 999e6}, "eps", 1e-8, 1e-20, 1e-6),
    ({**LM, "params": 1e9}, "eps", 1e-15, 1e-20, 1e-8),
    (IMAGES, "lr", 1e-3, 1e-4, 1e-2),
    (IMAGES, "weight_decay", NORMALIZED, 1 / (1e-3 * 18_750), 1 / (1e-3 * 1875)),
    ({"batch_size": 32}, "weight_decay", 0.01, 0.0, 0.1),
    ({"batch_tokens": 32}, "weight_decay", 0.1, 0.0, 1.0),
    ({"batch_tokens": 524_288, "tokens": 10e9}, "weight_decay", 0.1, 0.0, 1.0),
    ({"batch_tokens": 524_288, "params": 124e6}, "lr", 1e-3, 1e-4, 1e-2),
    (CARRY, "beta1", 0.9, 0.8, 0.95),
    ({"before": "batch=8,beta1=0.5"}, "beta1", 0.5, 0.5, 0.95),
    ({"before": "batch=8,betas=0.97,0.999"}, "beta1", 0.97, 0.8, 0.97),
    (CARRY, "beta2", CHAIN, 1 - 4 * (1 - CHAIN), 1 - (1 - CHAIN) / 4),
    (CARRY, "lr", 3e-4 / 8**0.21, 3e-4 / 16**0.5, 3e-4 * 2**0.5),
    (CARRY, "eps", 1e-8 * 8**0.5, 1e-20, 1e-6),
    ({"before": "batch=8,eps=1e-3"}, "eps", 1e-3, 1e-20, 1e-3),
    (CARRY, "warmup", 16_000, 2 / (1 - CHAIN), 16_000),
    (CARRY, "weight_decay", 0.1 / 8**0.79, 0.05 / 8**0.79, 0.2 / 8**0.79),
    (CARRY, "update clipping", 1.0, 1.0, BOUND),
    ({"before": "batch=8,betas=0.9,0.999"}, "warmup", 2000, 1000, 4000),
]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "name", "value", "low", "high"), ROWS, ids=[str(i) for i in range(len(ROWS))]
)
def test_a_row_and_its_range(said, name, value, low, high):
    row = advise(**said)[name]
    assert (row.value, row.low, row.high) == pytest.approx((value, low, high), rel=1e-9, abs=0)


CANDIDATES = [  # said, row, label, value
    (LM, "lr", "Step Law (Li et al.) at this batch", LR),
    (LM, "lr", "Step Law at its best batch of 3e+05 tokens", BEST_BATCH),
    (LM, "lr", "DeepSeek LLM (Bi et al.)", DEEPSEEK),
    (LM, "lr", "Porian et al.", PORIAN),
    (LM, "warmup", "2 / (1 - beta2) (Ma & Yarats)", None),
    (LM, "warmup", "5% of the run (Marek et al.)", 0.05 * STEPS),
    (LM, "warmup", "10% of the run (Orvieto & Gower)", 0.1 * STEPS),
    (LM, "weight_decay", "habit", 0.1),
    (LM, "beta2", "habit", 0.95),
    (LM, "beta2", "1000 horizons per run (Fernandez-Hernandez et al.)", 1 - 1000 / STEPS),
    (IMAGES, "beta2", "habit", 0.999),
    (IMAGES, "weight_decay", "habit", 0.01),
    (IMAGES, "beta2", "exact, on the counterexample", None),
    (CARRY, "beta1", "same beta1 (Marek et al.)", 0.9),
    (CARRY, "beta1", "SDE scaling (Malladi et al.)", 1 - 0.1 / 8),
    (CARRY, "beta2", "SDE scaling (Malladi et al.)", 1 - 0.05 / 8),
    (CARRY, "lr", "sqrt(k) (Malladi et al.)", 3e-4 / 8**0.5),
    (CARRY, "lr", "unchanged", 3e-4),
    (CARRY, "weight_decay", "same (torch's habit)", 0.1),
    (CARRY, "warmup", "2 / (1 - beta2) (Ma & Yarats)", 2 / (1 - CHAIN)),
]


@pytest.mark.parametrize(
    ("said", "name", "label", "value"), CANDIDATES, ids=[f"{c[1]}, {c[2]}" for c in CANDIDATES]
)
def test_a_candidate_has_its_sources_value(said, name, label, value):
    found = advise(**said)
    held = {one.label: one for one in found.candidates[name]}
    if value is None:
        return assert_follows_beta2(found, held[label])
    assert held[label].value == pytest.approx(value, rel=1e-9)
    return None


def assert_follows_beta2(found, candidate):
    expected = 2 / (1 - found["beta2"].value) if not candidate.bound else 1 - 4 / 1875**2
    assert candidate.value == pytest.approx(expected, rel=1e-6)


def labels(name, **said):
    return [one.label for one in advise(**said).candidates[name]]


def test_scaled_betas_that_leave_the_unit_interval_are_not_candidates():
    """1 - k (1 - beta) is negative for 0.9 at k = 16, and for 0.95 at k = 32."""
    assert len(labels("beta1", before=CARRY["before"], after="batch=8192")) == 1
    assert len(labels("beta1", before=CARRY["before"], after="batch=4096")) == 2
    scaled = "SDE scaling (Malladi et al.)"
    assert scaled in labels("beta2", before=CARRY["before"], after="batch=8192")
    assert scaled not in labels("beta2", before=CARRY["before"], after="batch=16384")


def test_published_sweeps_are_a_candidate_only_if_they_agree():
    best = "best in sweeps"
    assert best in labels("beta2", batch_tokens=524_288)
    assert best in labels("beta2", batch_tokens=64, before=CARRY["before"])
    for said in ({"batch_size": 32}, IMAGES, CARRY):
        assert best not in labels("beta2", **said)


def test_refreshing_v_a_thousand_times_needs_more_steps_than_that():
    refresh = "1000 horizons per run (Fernandez-Hernandez et al.)"
    assert refresh not in labels("beta2", batch_size=1, dataset_size=1000, epochs=1)
    assert refresh in labels("beta2", batch_size=1, dataset_size=1001, epochs=1)


def test_theorems_speak_from_three_minibatches_on():
    exact = "exact, on the counterexample"
    assert exact not in labels("beta2", batch_size=50, dataset_size=149)
    assert exact in labels("beta2", batch_size=50, dataset_size=150)
    assert exact in labels("beta2", batch_tokens=50, tokens=150)
    assert exact not in labels("beta2", batch_size=50)


def test_warmup_that_ends_with_the_run_is_too_long():
    """2,000 steps: of a run of 20,000 a tenth, of 2,001 almost all, of 2,000 the whole run."""
    for steps, value, message in (
        (20_000, 2000, ""),
        (19_999, 2000, "take 2,000"),
        (2000, 200, "reduced to a tenth of it, 200"),
    ):
        found = advise(before="batch=1,warmup=2000", dataset_size=steps, epochs=1)
        assert found["warmup"].value == pytest.approx(value)
        said = [note for note in found.warnings if note.startswith("Warmup")]
        assert len(said) == bool(message)
        assert message in "".join(said)


def test_warmup_stays_between_a_twentieth_and_a_tenth_of_the_run():
    """Twice v's memory is 2,000 steps at beta2 = 0.999."""
    for steps, value in ((100_000, 5000), (30_000, 2000), (15_000, 1500)):
        found = advise(before="batch=1,betas=0.9,0.999", dataset_size=steps, epochs=1)["warmup"]
        assert (found.value, found.high) == pytest.approx((value, steps / 10))
        assert found.low == pytest.approx(steps / 100)


def test_a_single_update_of_two_learning_rates_is_left_alone():
    """(1 - beta1) / sqrt(1 - beta2) at beta1 = 0: 2 at beta2 = 0.75."""
    assert advise(before="batch=1,betas=0,0.74")["update clipping"].value == "none"
    assert advise(before="batch=1,betas=0,0.76")["update clipping"].value == 1.0
    assert advise(before="batch=1,betas=0,0.75")["update clipping"].high == pytest.approx(2.0)


MEMORY = [  # said, format, stage, GB: 16 bytes per parameter in mixed precision, 4 + 4 + 8 in float32
    ({"params": 1e9, "memory": 16}, "float32", 0, "16"),
    ({"params": 1e9, "memory": 15.9}, "8bit", 0, "10"),
    ({"params": 1e9, "memory": 15.9, "ranks": 2}, "float32", 1, "10"),
    ({"params": 1e9, "memory": 9, "ranks": 2}, "float32", 2, "9"),
    ({"params": 1e9, "memory": 8, "ranks": 2}, "float32", 3, "8"),
    ({"params": 1e9}, "float32", 0, "16"),
]


@pytest.mark.parametrize("dtype", ["float32", "bf16"])
@pytest.mark.parametrize(("said", "form", "stage", "need"), MEMORY, ids=str)
def test_the_lowest_stage_of_zero_that_fits(said, form, stage, need, dtype):
    if dtype == "float32" and stage in (1, 2):  # 8 P + 8 P / ranks, 4 P + 12 P / ranks
        need, said = {1: "12", 2: "10"}[stage], {**said, "memory": {1: 15.9, 2: 10}[stage]}
    found = advise(32, dtype=dtype, **said)
    assert (found["state format"].value, found["ZeRO stage"].value) == (form, stage)
    assert f"It takes {need}" in found["ZeRO stage"].reason
    assert not [note for note in found.warnings if "stage 3" in note]


def test_what_fits_on_no_stage_is_reported():
    found = advise(32, params=1e9, memory=1, ranks=2, dtype="bf16")
    assert (found["state format"].value, found["ZeRO stage"].value) == ("8bit", 3)
    assert [note for note in found.warnings if note.startswith("Even stage 3 takes 5.0")]
    assert "on each of 2 devices, of 1 GB" in found["ZeRO stage"].reason


def test_without_a_size_nothing_is_said_not_to_fit():
    for said in ({"memory": 1e-9}, {"params": 1e12}, {}):
        found = advise(32, **said)
        assert (found["state format"].value, found["ZeRO stage"].value) == ("float32", 0)
        assert (found["ZeRO stage"].low, found["ZeRO stage"].high) == (0.0, 3.0)


def test_beta1_stays_below_the_root_of_a_beta2_that_is_carried_over():
    """beta2 = 0.5 at its own batch size: beta1 = 0.5 may go up to 0.707."""
    row = advise(before="batch=8,betas=0.5,0.5")["beta1"]
    assert (row.value, row.high) == (0.5, pytest.approx(math.sqrt(0.5)))


def test_a_windows_ends_stay_between_beta1_squared_and_the_largest():
    row = advise(before="batch=8,betas=0.9,0.92")["beta2"]
    assert (row.value, row.low, row.high) == pytest.approx((0.92, 0.81, 0.98))
    row = advise(before="batch=8,betas=0.9,0.99999")["beta2"]
    assert (row.value, row.low, row.high) == pytest.approx((0.99999, 0.99996, 0.99999))


def test_bfloat16_would_stall_v_below_two_to_the_minus_eight():
    stalls = "v rounded to bfloat16 would stop changing"
    at = 1 - 2.0**-8
    assert stalls not in advise(before=f"batch=1,betas=0.9,{at!r}")["state format"].reason
    assert stalls in advise(before=f"batch=1,betas=0.9,{at + 1e-9!r}")["state format"].reason


def test_batches_above_the_critical_one_are_noted():
    at = CRITICAL
    for batch, noted in ((at * 0.999, False), (at * 1.001, True)):
        notes = advise(batch_tokens=batch, tokens=10e9, params=124e6).warnings
        assert any("times the critical one" in note for note in notes) == noted


def test_eps_that_float16_cannot_hold_is_noted():
    """Half of the smallest float16, 2^-25, rounds to 0."""
    for eps, noted in ((2.0**-25, True), (2.0**-24, False)):
        notes = advise(before=f"batch=1,eps={eps!r}", dtype="fp16").warnings
        assert any("is 0 in float16" in note for note in notes) == noted
        assert not any(
            "is 0 in float16" in note for note in advise(before=f"batch=1,eps={eps!r}").warnings
        )


def test_beta2_stays_within_a_tenth_of_the_run():
    """1 - 1 / (steps / 10): 0.99 for 1,000 steps; never below beta1."""
    for steps, value in ((1000, 0.99), (200, 0.95), (90, 0.9)):
        found = advise(
            before="batch=2,betas=0.9,0.99999", after="batch=1", dataset_size=steps, epochs=1
        )
        assert found["beta2"].value == found["beta2"].high == pytest.approx(value)


def test_carrying_over_by_hand():
    new = carried(settings("batch=16,lr=1,betas=0.5,0.5,eps=2,wd=3,warmup=7"), 64)
    assert (new.batch, new.beta1, new.beta2) == (64, 0.5, 0.5**4)
    assert (new.lr, new.weight_decay) == pytest.approx((4**0.21, 3 * 4**0.79))
    assert (new.eps, new.warmup) == (1.0, 7 / 4)


class Fixed:
    """A trial whose suggestions are fixed shares of the range."""

    def __init__(self, share: float) -> None:
        self.share, self.ranges = share, {}

    def suggest_float(self, name: str, low: float, high: float, log: bool = False) -> float:
        self.ranges[name] = (low, high)
        return low * (high / low) ** self.share if log else low + self.share * (high - low)


def test_optuna_draws_between_the_ends_that_are_given():
    low, high, wide = Fixed(0.0), Fixed(1.0), Fixed(0.5)
    assert optuna_betas(low) == pytest.approx((0.0, 0.9))
    assert optuna_betas(high) == pytest.approx((0.99, 0.9999))
    assert optuna_betas(low, (0.5, 0.6), (0.8, 0.9)) == pytest.approx((0.5, 0.8))
    assert optuna_betas(high, (0.5, 0.6), (0.8, 0.9)) == pytest.approx((0.6, 0.9))
    assert optuna_betas(wide) == pytest.approx((0.9, 1 - 10**-2.5))
    assert wide.ranges == {"horizon2": pytest.approx((10, 1e4)), "share1": (0.0, 1.0)}
    beta1, beta2 = optuna_betas(high, (0.0, 0.99), (0.1, 0.5))
    # the horizon of beta1 ends just below that of sqrt(beta2)
    assert 0 < math.sqrt(beta2) - beta1 < 1e-6


def test_numbers_are_written_with_the_digits_that_matter():
    assert [format_beta(b) for b in (0.0, 0.5, 0.123456, 0.9, 0.95, 0.9856, 0.99984)] == [
        "0", "0.5", "0.123", "0.9", "0.95", "0.986", "0.99984",
    ]  # fmt: skip
    assert [format_beta(1 - away) for away in (9.1e-6, 8.9e-6)] == ["0.9999909", "1 - 8.9e-06"]
    assert [
        format_number("lr", 0.00123456, 3),
        format_number("warmup", 123456.7),
        rounded("eps", 1.2345e-8),
    ] == [
        "0.00123",
        "123457",
        1.23e-8,
    ]


def apart(name, *values):
    return disagreement(name, [Candidate(str(i), value, ()) for i, value in enumerate(values)])


def test_candidates_disagree_beyond_a_factor_of_two():
    assert apart("lr", 1.0, 2.0) == apart("lr", 1.0) == apart("beta2", 0.9, 0.95) == ""
    assert apart("lr", 1.0, 2.01, 1.5) == "Sources disagree on lr: 0 1, 1 2.01, 2 1.5."
    assert apart("beta2", 0.9, 0.951)
    bound = Candidate("theorem", 100.0, (), bound=True)
    assert disagreement("lr", [Candidate("a", 1.0, ()), bound, Candidate("b", 1.0, ())]) == ""


def test_the_value_that_is_taken_is_marked():
    found = [Candidate("a", 1.0, ()), Candidate("b", 2.0, ())]
    assert [one.chosen for one in mark_chosen(found, 2.0)] == [False, True]
    assert [(one.label, one.chosen) for one in mark_chosen(found, 3.0)] == [
        ("advised", True),
        ("a", False),
        ("b", False),
    ]
