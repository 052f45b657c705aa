"""`betaplane rules`: bytes of state as optimizers hold them, and ZeRO's stages as the formulas
beside them say.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from commands import ended

import betaplane
from betaplane.rules import ALL, NAMES, SGD, Adafactor, RMSprop, Rule, state_size

PUBLISHED = {  # bytes of float32 state a parameter, where two moments are not what there is
    "sgd": 0, "adagrad": 4, "rmsprop": 4, "lion": 4, "adammini": 4, "adafactor": 0, "amsgrad": 12, "ademamix": 12,
    "adan": 16,
}  # fmt: skip


def payload_of(words: str, capsys: pytest.CaptureFixture[str]) -> Any:
    code, out, err = ended(f"{words} --json", capsys)
    assert (code, err) == (0, "")
    return json.loads(out, parse_constant=pytest.fail)


def test_bytes_equal_the_published_ones(capsys) -> None:
    rows = {row["name"]: row["state_bytes"] for row in payload_of("rules", capsys)}
    assert tuple(rows) == NAMES
    for name, found in rows.items():
        number = PUBLISHED.get(name, 8)
        assert found["float32"] == pytest.approx(number, abs=0.01)
        rest = found["float32"] - number  # rows and columns
        assert found["bfloat16"] == number / 2 + rest
        assert found["8bit"] == number / 4 * (1 + 4 / 256) + rest
    assert rows["adammini"]["float32"] == 4 + 4 / 1024
    assert rows["adafactor"]["8bit"] == 2 * 4 / 1024


@pytest.mark.parametrize(
    "rule",
    [*(kind() for kind in ALL), SGD(momentum=0.9), RMSprop(momentum=0.9), RMSprop(centered=True)],
    ids=str,
)
def test_bytes_equal_the_state_of_the_optimizer(rule: Rule) -> None:
    p = torch.nn.Parameter(torch.ones(24, 16))
    options = {
        name: value
        for name, value in rule.options().items()
        if value != getattr(type(rule)(), name)
    }
    optimizer = getattr(betaplane, type(rule).__name__)([p], lr=1e-3, **options)
    for _ in range(2):
        p.grad = torch.ones_like(p)
        optimizer.step()
    state = [
        value
        for value in optimizer.state[p].values()
        if isinstance(value, torch.Tensor) and value.dim()
    ]
    tensors, rest = state_size(rule, 24, 16)
    assert tensors == sum(value.shape == p.shape for value in state)
    assert (tensors + rest) * p.numel() == sum(value.numel() for value in state)


def test_state_of_momentum_and_small_matrices_is_counted() -> None:
    assert state_size(Adafactor(momentum=True)) == (1, 2 / 1024)
    assert state_size(Adafactor(min_dim=128), rows=64) == (1, 0.0)


def formulas(text: str) -> list[tuple[int, str]]:
    """The stages and formulas of a text: those of ZeRO, then those of DeepSpeed."""
    found = re.findall(r"^ +(?:stage )?(\d) +(\S.*)$", text, re.MULTILINE)
    cells = [(int(stage), re.split(r" {2,}|, and", cell)) for stage, cell in found]
    formula = re.compile(r"[()\d sPN+/]+")
    return [(stage, each) for column in (0, 1) for stage, row in cells for each in row[column : column + 1]
            if formula.fullmatch(each)]  # fmt: skip


def value(formula: str, P: float, N: int, s: float) -> float:
    return eval(re.sub(r"([\d)]) P", r"\1 * P", formula), {}, {"P": P, "N": N, "s": s})


@pytest.mark.parametrize("words", ["rules --params 7e9 --ranks 8 --rule lion", "rules --help"])
def test_printed_formulas_equal_the_computed_ones(capsys, words: str) -> None:
    printed = formulas(ended(words, capsys)[1])
    assert [stage for stage, _ in printed] == [0, 1, 2, 3, 2, 3]
    for row in payload_of("rules --params 7e9 --ranks 8 --rule lion", capsys)["rows"]:
        numbers = [*row["paper"].values(), *row["deepspeed"].values()]
        for (_, formula), gb in zip(printed, numbers, strict=True):
            assert value(formula, 7e9, 8, row["state_bytes"]) / 1e9 == pytest.approx(gb, rel=1e-12)


def test_stages_equal_the_published_ones(capsys) -> None:
    adamw = payload_of("rules --params 70e9 --ranks 64", capsys)
    assert (adamw["rule"], adamw["params"], adamw["ranks"]) == ("adamw", 70e9, 64)
    assert list(adamw["rows"][0]["paper"].values()) == [1120.0, 293.125, 155.3125, 17.5]
    one = payload_of("rules --params 70e9", capsys)
    assert one["ranks"] == 1
    assert {*one["rows"][0]["paper"].values()} == {1120.0}


@pytest.mark.parametrize("words", ["rules", "rules --rule adan", *(
    f"rules --params {params} --ranks {ranks}" for params in (1, 1e3, 124e6, 70e9, 1e12) for ranks in (1, 64, 4096)
)])  # fmt: skip
def test_tables_fit_a_terminal(capsys, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = ended(words, capsys)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    assert "DeepSpeed  DeepSpeed" in out or "--params" not in words  # no word is broken


def test_one_rule_is_listed_alone(capsys) -> None:
    assert [row["name"] for row in payload_of("rules --rule adan", capsys)] == ["adan"]
    _, out, _ = ended("rules --rule adan", capsys)
    assert "16.00      8.00  4.06" in out
    assert "Xie et al. 2022" in out
    assert "adamw" not in out
