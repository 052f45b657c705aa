"""`betaplane advise`: the three calls of its help, as a table and as JSON; bad input as sentences."""

from __future__ import annotations

import json

import pytest
from commands import ended

FROM = "batch=512,lr=3e-4,betas=0.9,0.95,wd=0.1,warmup=2000"
CALLS = {
    "advise --batch-size 32 --dataset-size 60000 --epochs 10": "Advice for a batch of 32 samples, 18,750 steps, 1,875",
    "advise --batch-tokens 524288 --tokens 10e9 --params 124e6 --dtype bf16": "Advice for a batch of 524,288 tokens",
    "advise --batch-size 32 --dataset-size 1000 --epochs 1": "Advice for a batch of 32 samples, 31 steps, 31 per epoch",
    f"advise --from {FROM} --to batch=64": "Advice for a batch of 64 samples, 0.125 times the old one",
}


@pytest.mark.parametrize(("words", "first"), CALLS.items())
def test_advise_prints_a_table(words, first, capsys):
    code, out, err = ended(words, capsys)
    assert (code, err) == (0, "")
    assert out.startswith(first)
    assert max(map(len, out.splitlines())) <= 80
    for part in (
        "\nbeta2 ",
        "\nZeRO stage ",
        "\nWorth knowing\n",
        "\nTo paste\n",
        "arXiv:2507.07101",
    ):
        assert part in out


@pytest.mark.parametrize("words", CALLS)
def test_advise_prints_json(words, capsys):
    code, out, _ = ended(f"{words} --json", capsys)
    payload = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    assert len(payload["rows"]) == 10
    assert payload["lines"][0].startswith("betaplane.AdamW(model.parameters(), lr=")


@pytest.mark.parametrize(
    ("words", "message"),
    {
        "advise": "The batch size is missing",
        "advise --batch-size -3": "batch_size is out of range: got -3.0",
        f"advise --from {FROM},bats=1 --to batch=64": "Unknown setting 'bats'. Did you mean 'betas'?",
        "advise --batch-size 32 --dataset-size 1e400": "dataset_size is out of range: got inf",
        "advise --batch-size 32 --dataset-size 320 --epochs inf": "epochs is out of range: got inf",
        "advise --batch-tokens 32 --tokens inf": "tokens is out of range: got inf",
        f"advise --from {FROM} --to lr=3": "--to must be a batch size and nothing else: got 'lr=3'",
        "advise --batch-size 32 --dtype int4": "Unknown dtype 'int4'",
        "advise --batch-size 32 --map nowhere.sqlite": "There is no such store: got 'nowhere.sqlite'",
        "advise --batch-size 32 --checkpoint nowhere.pt": "There is no such checkpoint: got 'nowhere.pt'",
        "advise --batch-size 32 --evidence nowhere.toml": "The evidence cannot be read",
    }.items(),
)
def test_bad_input(words, message, capsys):
    code, out, err = ended(words, capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"betaplane: {message}")
