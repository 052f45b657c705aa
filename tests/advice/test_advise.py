"""Advice: values against computations of their own, the order of trust, and that every row stands
on the evidence.
"""

from __future__ import annotations

import ast
import json
import math
import re

import numpy as np
import pytest
import torch

import betaplane
from betaplane.advice import CONFIDENCE, advise, carried, evidence, settings
from betaplane.advice.evidence import FILE
from betaplane.errors import BadInput

FROM = "batch=512,lr=3e-4,betas=0.9,0.95,wd=0.1,warmup=2000"
CASES = {
    "samples": {"batch_size": 32, "dataset_size": 60_000, "epochs": 10},
    "language": {"batch_tokens": 524_288, "tokens": 10e9, "params": 124e6, "dtype": "bf16"},
    "carried": {"before": FROM, "after": "batch=64"},
    "larger batch": {"before": FROM, "after": "batch=4096"},
    "large model": {
        "batch_tokens": 4e6,
        "tokens": 1e12,
        "params": 7e9,
        "dtype": "bf16",
        "ranks": 64,
        "memory": 80,
    },
    "no memory": {
        "batch_tokens": 4e6,
        "tokens": 1e12,
        "params": 70e9,
        "dtype": "bf16",
        "ranks": 8,
        "memory": 16,
    },
    "only a batch": {"batch_size": 1},
    "half": {"batch_size": 8, "dtype": "fp16"},
    "a hundred steps": {"batch_size": 100, "dataset_size": 1000, "epochs": 10},
    "31 steps": {"batch_size": 32, "dataset_size": 1000, "epochs": 1},
    "a long momentum": {"before": "batch=1,beta1=0.999999"},
    "numbers of numpy": {
        "batch_size": np.int64(8),
        "dataset_size": np.int64(6000),
        "ranks": np.int64(2),
    },
}
NAMES = [
    "beta1", "beta2", "eps", "lr", "warmup", "weight_decay",
    "update clipping", "gradient accumulation", "state format", "ZeRO stage",
]  # fmt: skip


@pytest.fixture(params=CASES, scope="module")
def advice(request):
    return advise(**CASES[request.param])


def test_every_row_is_complete(advice):
    assert [row.name for row in advice.rows] == NAMES
    for row in advice.rows:
        assert row.confidence in CONFIDENCE
        assert row.reason.endswith(".")
        assert row.reason.count(". ") == 0 or "et al. " in row.reason
        assert row.formula
        assert row.sources
        assert set(row.sources) <= set(evidence().sources)
        if row.low is not None:
            assert row.low <= row.value <= row.high


def test_betas_have_bounded_updates(advice):
    b1, b2 = advice.settings["betas"]
    assert b1 < math.sqrt(b2)
    assert advice["beta2"].low >= b1**2 * (1 - 1e-12)
    assert advice["beta1"].high <= math.sqrt(advice["beta2"].value)


def test_text_fits_80_columns(advice):
    lines = str(advice).splitlines()
    assert max(map(len, lines)) <= 80
    assert str(advice).count("\n    betaplane.AdamW(") == 1


def test_lines_to_paste_run(advice):
    model = torch.nn.Linear(4, 2)
    pasted = re.findall(
        r"^    (\w[\w.]*\(.*?\n    \))", str(advice).split("To paste")[1], re.DOTALL | re.MULTILINE
    )
    assert len(pasted) == len(advice.lines) == 2
    for line in (*pasted, *advice.lines):
        optimizer = eval(line, {"betaplane": betaplane, "torch": torch, "model": model})
        model(torch.ones(3, 4)).square().mean().backward()
        optimizer.step()
        group = optimizer.param_groups[0]
        assert (group["lr"], tuple(group["betas"])) == (
            advice.settings["lr"],
            advice.settings["betas"],
        )


def test_json_and_html_have_all_rows(advice):
    result = json.loads(json.dumps(advice.to_dict()), parse_constant=pytest.fail)
    assert [row["name"] for row in result["rows"]] == NAMES
    assert result["sources"].keys() >= {name for row in result["rows"] for name in row["sources"]}
    page = advice._repr_html_()
    assert page.count("<tr>") == 1 + len(NAMES)
    assert "<script" not in page
    assert "beta1 &lt; sqrt" in page or "beta1 stays" in page


# Step Law, carried from its best batch to this one
STEP_LAW = 1.79 * 124e6**-0.713 * 10e9**0.307 * (524_288 / (0.58 * 10e9**0.571)) ** 0.21
VALUES = [  # computed by hand, from the formulas of the papers
    ("samples", "beta2", 0.999),
    ("samples", "lr", 1e-3),
    ("samples", "weight_decay", 0.05 * math.sqrt(32 / 600_000) / 1e-3),
    ("language", "lr", STEP_LAW),
    ("language", "warmup", 0.05 * 10e9 / 524_288),
    ("language", "weight_decay",
     524_288 / (10e9 * STEP_LAW * 1.084 * (10e9 / 124e6) ** -0.527)),
    ("carried", "beta1", 0.9),
    ("carried", "beta2", 0.95**0.125),
    ("carried", "lr", 3e-4 / 8**0.21),
    ("carried", "warmup", 16_000),
    ("carried", "weight_decay", 0.1 / 8**0.79),
    ("carried", "update clipping", 1.0),
    ("larger batch", "beta2", 0.9),
    ("larger batch", "update clipping", "none"),
    ("large model", "eps", 1e-15),
    ("large model", "ZeRO stage", 1),
    ("no memory", "state format", "8bit"),
    ("a hundred steps", "beta2", 0.9),
]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "name", "value"), VALUES, ids=[f"{case}, {name}" for case, name, _ in VALUES]
)
def test_value_equals_its_formula(case, name, value):
    found = advise(**CASES[case])[name].value
    assert found == (value if isinstance(value, str) else pytest.approx(value, rel=1e-9))


def test_disagreeing_sources_are_listed_with_values():
    result = " ".join(advise(**CASES["carried"]).warnings)
    assert "Malladi et al.) 0.988" in result  # 1 - 0.1 / 8
    assert f"{3e-4 / 8**0.21:.3g} (taken)" in result
    held = {one.label: one.value for one in advise(**CASES["carried"]).candidates["beta2"]}
    assert held["SDE scaling (Malladi et al.)"] == pytest.approx(1 - 0.05 / 8)
    result = " ".join(advise(**CASES["samples"]).warnings)
    n = 60_000 / 32
    assert f"{n**-3.5:.1e} (Shi et al., constant 1)" in result
    assert f"1 - beta2 = {4 / n**2:.1e} (exact, on the counterexample)" in result


@pytest.mark.parametrize(("there", "beyond"), [(64, 8), (2048, 16), (1, 4096), (512, 512)])
def test_carrying_over_is_a_group_action(there, beyond):
    start = settings(FROM + ",eps=1e-8")
    once, twice = carried(start, beyond), carried(carried(start, there), beyond)
    home = carried(once, 512)
    for name in ("lr", "beta1", "beta2", "eps", "weight_decay", "warmup"):
        assert getattr(twice, name) == pytest.approx(getattr(once, name), rel=1e-9)
        assert getattr(home, name) == pytest.approx(getattr(start, name), rel=1e-9)


def test_warmup_that_does_not_fit_has_a_warning():
    result = advise(before=FROM, after="batch=64", dataset_size=6400, epochs=500)  # 50,000 steps
    assert (
        "Warmup of 16,000 steps is more than a tenth of the run; take 5,000 steps."
        in result.warnings
    )
    assert result["warmup"].value == 16_000
    result = advise(before=FROM, after="batch=64", dataset_size=6400, epochs=100)
    assert (
        "Warmup of 16,000 steps would not end before the run; reduced to a tenth of it, 1,000 steps."
        in result.warnings
    )
    assert result["warmup"].value == result["warmup"].high == 1000


def test_a_run_too_short_for_its_momentum_keeps_beta2_at_beta1():
    result = advise(**CASES["31 steps"])
    assert result.settings["betas"] == (0.9, 0.9)
    assert result["update clipping"].value == "none"
    assert "tenth of the run; lowered to beta1 = 0.9, the smallest recommended value." in " ".join(
        result.warnings
    )


KEPT = [  # before, what else is said, beta2, the note on it
    ("batch=512,betas=0.9,0.999999", {}, 0.999999, ""),
    ("batch=512,betas=0.95,0.93", {}, 0.93, ""),
    (
        "batch=512,betas=0.9,0.999",
        {"dataset_size": 51_200, "epochs": 1},
        0.999,
        "averages over more than a tenth of",
    ),
    ("batch=512,betas=0.9,0.5", {}, 0.9, "beta2 = 0.5 is below beta1 = 0.9; raised to it"),
]


@pytest.mark.parametrize(
    ("before", "more", "beta2", "note"), KEPT, ids=[before for before, *_ in KEPT]
)
def test_bounded_beta2_is_kept_at_its_batch_size(before, more, beta2, note):
    result = advise(before=before, after="batch=512", **more)
    assert result["beta2"].value == beta2
    moved = [line for line in result.warnings if line.startswith("beta2 = ")]
    assert len(moved) == bool(note)
    assert note in "".join(moved)


def test_too_large_beta2_is_lowered_with_a_warning():
    result = advise(before="batch=512,betas=0.9,0.999999", after="batch=64")
    assert result["beta2"].value == 0.99999
    assert (
        "beta2 = 1 - 1.3e-07 is above 0.99999, the largest recommended value; lowered to it."
        in result.warnings
    )


def test_every_rule_names_its_entries_and_every_law_is_used():
    """Each name in the rules' sources is in the evidence, and no law lies there for nothing."""
    rules = ("beta1", "beta2", "eps", "lr", "warmup", "decay", "clipping", "memory", "evidence")
    folder = FILE.parent
    text = {name: (folder / f"{name}.py").read_text() for name in rules}
    words = {
        name: {node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)}
        for name, code in text.items()
    }
    for name in rules[:-1]:
        assert words[name] & set(evidence().sources), name
    assert set(evidence().laws) <= set().union(*words.values())


BAD = [
    ({}, "The batch size is missing: expected one of `batch_size`, `batch_tokens`, `after`"),
    ({"batch_size": 32, "batch_tokens": 10}, "The batch size is given twice: got (32, 10)"),
    (
        {"batch_size": 0},
        "batch_size is out of range: got 0; expected [1, 1e18] (batch_size). Try: b",
    ),
    ({"batch_size": math.nan}, "batch_size is out of range: got nan"),
    (
        {"batch_size": 32, "dataset_size": 16},
        "The batch is larger than the data: got 16; expected [32, inf) samples",
    ),
    ({"batch_size": 32, "epochs": 3}, "`epochs` needs `dataset_size`"),
    (
        {"batch_size": 32, "dataset_size": 100, "epochs": -1},
        "epochs is out of range: got -1; expected (0, 1e18]",
    ),
    (
        {"batch_size": 32, "dataset_size": 100, "epochs": math.inf},
        "epochs is out of range: got inf; expected (0, 1e18]",
    ),
    (
        {"batch_size": 32, "dataset_size": math.inf},
        "dataset_size is out of range: got inf; expected [1, 1e18] (d",
    ),
    ({"batch_size": 32, "dataset_size": 1e300}, "dataset_size is out of range: got 1e+300"),
    (
        {"batch_size": 32, "dataset_size": "6e4", "epochs": 1},
        "dataset_size is not a number: got '6e4'",
    ),
    ({"batch_size": 1e-300}, "batch_size is out of range: got 1e-300"),
    (
        {"batch_size": "32"},
        "batch_size is not a number: got '32'; expected [1, 1e18] (batch_size",
    ),
    (
        {"batch_tokens": 1000, "tokens": math.inf},
        "tokens is out of range: got inf; expected [1, 1e18] (tokens",
    ),
    ({"batch_size": 32, "tokens": 1e9}, "`tokens` needs `batch_tokens`: got 1000000000.0"),
    ({"batch_tokens": 32, "dataset_size": 100}, "`dataset_size` needs `batch_size`: got 100"),
    (
        {"batch_tokens": 1000, "tokens": 10},
        "The run is shorter than one batch: got 10; expected [1000, inf) tokens",
    ),
    (
        {"batch_size": 32, "params": 0},
        "params is out of range: got 0; expected [1, 1e18] (params",
    ),
    (
        {"batch_size": 32, "memory": -1},
        "memory is out of range: got -1; expected (0, 1e18] (memory",
    ),
    (
        {"batch_size": 32, "ranks": 0},
        "ranks is out of range: got 0; expected 1, 2, 3, ... (ranks",
    ),
    (
        {"batch_size": 32, "dtype": "int8"},
        "Unknown dtype 'int8'. Choose one of: float32, fp32, bfloat16",
    ),
    (
        {"after": "batch=64"},
        'There are no settings to carry over: expected `after` together with `before` (after). Try: before="',
    ),
    (
        {"before": "lr=1e-3", "after": "batch=64"},
        "The settings have no batch size: expected batch=... (before",
    ),
    (
        {"batch_size": 32, "dtype": ["x"]},
        "Unknown dtype ['x']. Choose one of: float32, fp32, bfloat16",
    ),
    (
        {"before": FROM, "after": "lr=3"},
        "`after` must be a batch size and nothing else: got 'lr=3'",
    ),
    (
        {"before": FROM, "after": "batch=64,lr=3"},
        "got 'batch=64,lr=3'; expected batch=... (after). Try: after=",
    ),
    (
        {"before": FROM, "after": 64},
        "Invalid settings: got 64; expected name=value,name=value,... (after",
    ),
    ({"before": ["x"], "after": "batch=64"}, "Invalid settings: got ['x']"),
    ({"before": {"batch": 512, "betas": None}}, "Invalid settings: got 'betas=None'"),
    ({"before": "batch=0.5"}, "batch is out of range: got 0.5; expected [1, inf)"),
    (
        {"before": FROM, "after": "speed=64"},
        "Unknown setting 'speed'. Choose one of: batch, lr, beta1, beta2",
    ),
    ({"before": "batch=512,lrr=1", "after": "batch=64"}, 'Try: before="lr=..."'),
    (
        {"before": "batch=512,betas=0.9", "after": "batch=64"},
        "Invalid settings: got 'betas=0.9'",
    ),
    (
        {"before": "0.9,0.95", "after": "batch=64"},
        "Invalid settings: got '0.9,0.95'; expected name=value",
    ),
    (
        {"before": "batch=512,betas=0.9,1.5", "after": "batch=64"},
        "beta2 is out of range: got 1.5; expected [0, 1)",
    ),
    (
        {"before": "batch=512,lr=fast", "after": "batch=64"},
        "lr is not a number: got 'fast' (before",
    ),
    (
        {"before": "batch=512,lr=0", "after": "batch=64"},
        "lr is out of range: got 0.0; expected (0, inf)",
    ),
    ({"batch_size": 32, "checkpoint": "none.pt"}, "There is no such checkpoint: got 'none.pt'"),
    ({"batch_size": 32, "map": "none.sqlite"}, "There is no such store: got 'none.sqlite' (map"),
    (
        {"batch_tokens": 32, "map": "none.sqlite"},
        "Maps and recordings count samples: got 'none.sqlite'",
    ),
    ({"batch_size": 32, "replay": "none.safetensors"}, "none.safetensors"),
    ({"batch_size": 32, "evidence_file": "none.toml"}, "The evidence cannot be read"),
]


@pytest.mark.parametrize(("given", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_input_raises_one_sentence(given, message):
    with pytest.raises(BadInput) as error:
        advise(**given)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("case", "end"),
    [
        (
            {"before": {"batch_size": 32, "lr": 1e-3, "betas": (0.9, 0.95)}, "batch_size": 8192},
            "smallest",
        ),
        (
            {"before": {"batch_size": 8192, "lr": 1e-3, "betas": (0.9, 0.999)}, "batch_size": 1},
            "largest",
        ),
    ],
)
def test_the_reason_of_a_beta2_at_an_end_is_true_of_it(case: dict, end: str):
    row = next(row for row in advise(**case).rows if row.name == "beta2")
    assert row.reason.startswith(f"The {end} value recommended here")
    assert row.confidence == "heuristic"


@pytest.mark.parametrize(
    ("steps", "batch", "text", "reason"),
    [
        (100, 8192, "0", "The samples of your warmup are 0.39 steps, rounded to 0, which is none."),
        (45, 1024, "1", "The samples of your warmup are 1.4 steps, rounded to 1."),
        (48, 1024, "2", "The samples of your warmup are 1.5 steps, rounded to 2."),
        (0, 64, "0", "Your setting has no warmup, so none is carried over."),
        (
            2000,
            64,
            "1000",
            "Warmup has as many samples as before, and v averages over as many.",
        ),
    ],
)
def test_the_reason_of_a_rounded_warmup_is_true_of_it(
    steps: int, batch: int, text: str, reason: str
):
    row = advise(before=f"batch=32,lr=1e-3,betas=0.9,0.95,warmup={steps}", after=f"batch={batch}")[
        "warmup"
    ]
    assert (row.text, row.reason) == (text, reason)


def test_the_reason_of_a_capped_warmup_has_the_figure_that_is_used():
    run = {"before": "batch=32,lr=1e-3,warmup=100", "after": "batch=32", "epochs": 1}
    short, tiny = (advise(**run, dataset_size=32 * steps) for steps in (50, 3))
    start = "The samples of your warmup do not fit into the run; a tenth of the run is"
    assert (short["warmup"].text, short["warmup"].reason) == ("5", f"{start} 5 steps.")
    assert (tiny["warmup"].text, tiny["warmup"].reason) == (
        "0",
        f"{start} 0.3 steps, rounded to 0.",
    )
    message = "Warmup of 100 steps would not end before the run; reduced to a tenth of it, 0.3 steps, rounded to 0."
    assert message in tiny.warnings
    long = advise(batch_size=32, dataset_size=60_000, epochs=100)["warmup"]
    assert (long.text, long.reason[:57]) == (
        "9375",
        "5% of the run, longer than the 2,000 steps after which v ",
    )


def test_the_reason_of_a_weight_decay_is_true_of_it():
    reasons = {
        "batch=32,lr=1e-3,wd=0.1": "The weights then average over as many samples as before, at the new lr.",
        "batch=32,wd=0.1": "The weights then average over as many samples as before, if you also multiply lr",
        "batch=32,lr=1e-3,wd=0": "Your setting has no weight decay, so none is carried over.",
    }
    for before, reason in reasons.items():
        assert advise(before=before, after="batch=64")["weight_decay"].reason.startswith(reason)
    short, long = (
        advise(32, dataset_size=60_000, epochs=epochs)["weight_decay"] for epochs in (0.5, 100)
    )
    assert short.reason.endswith("the range is a memory of the whole run, widened to this value.")
    assert long.reason.endswith("the range is a memory of all epochs to one.")


def test_eps_of_zero_is_kept():
    assert (
        advise(before="batch=32,lr=1e-3,eps=0", after="batch=64")["eps"].reason
        == "It was 0 and stays 0."
    )


def test_the_reason_of_a_short_warmup_is_true_of_it():
    row = next(
        row
        for row in advise(batch_size=32, dataset_size=3200, epochs=2).rows
        if row.name == "warmup"
    )
    assert row.reason.startswith("A tenth of the run is 20 steps, the longest recommended")
    assert float(row.value) == 20


@pytest.mark.parametrize(
    ("old", "new", "lr", "decay"),
    [(1, 65536, 1e-3, 0.1), (8, 32768, 3e-3, 0.5), (1, 4096, 1e-2, 1.0), (512, 64, 3e-4, 0.1)],
)
def test_weight_decay_leaves_most_of_the_weights(
    old: int, new: int, lr: float, decay: float
) -> None:
    """AdamW multiplies weights by 1 - lr weight_decay, which a carried decay made negative."""
    before = f"batch={old},lr={lr},betas=0.9,0.95,wd={decay}"
    settings = advise(before=before, after=f"batch={new}").settings
    assert 0.899 <= 1 - settings["lr"] * settings["weight_decay"] < 1


@pytest.mark.parametrize(
    ("before", "after", "warned"),
    [
        ("batch=4,betas=0.9,0.95", "batch=4", True),
        ("batch=4,betas=0.9,0.95", "batch=64", True),
        ("batch=4,betas=0.9,0.9985", "batch=4", False),
        ("batch=512,betas=0.9,0.95", "batch=4", False),
        ("batch=4,betas=0.9,0", "batch=4", True),
        ("batch=4,lr=1e-3", "batch=4", False),
    ],
)
def test_a_beta2_below_every_published_best_has_a_warning(before, after, warned):
    notes = advise(before=before, after=after).warnings
    assert any("below the best one of every published sweep" in note for note in notes) == warned


def test_the_published_best_of_the_warning_is_the_shortest_half_life():
    """In samples it is 256 log(0.5) / log(0.877...), of the Conformer."""
    shortest = evidence().shortest_half_life("samples")
    assert shortest == pytest.approx(256 * math.log(0.5) / math.log(0.8774571228))
    least = 0.5 ** (4 / shortest)
    for beta2, warned in ((least - 1e-6, True), (least + 1e-6, False)):
        notes = advise(before=f"batch=4,betas=0.9,{beta2!r}", after="batch=4").warnings
        assert any("every published sweep" in note for note in notes) == warned
    assert evidence().without("dahl2023").shortest_half_life("samples") is None
