"""`betaplane inspect`: a table with the suspicious layer first, JSON, a picture; bad input as
sentences.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import ended

import betaplane


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2))
    optimizer = torch.optim.AdamW(model.named_parameters(), betas=(0.9, 0.999))
    for _ in range(100):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()
    held = optimizer.state_dict()
    torch.save(held, "well.pt")
    held["state"][3]["exp_avg"] *= 100
    torch.save(held, "sick.pt")
    bare = {"state": held["state"], "param_groups": [{"params": [0, 1, 2, 3]}]}
    torch.save(bare, "bare.pt")
    Path("text.pt").write_text("no tensors")
    Path("folder").mkdir()
    return tmp_path


def test_healthy_checkpoint_has_no_marked_line(capsys):
    code, out, err = ended("inspect well.pt", capsys)
    assert (code, err) == (0, "")
    head, columns, *rows = out.splitlines()
    assert head == "well.pt: torch, 4 layers, 58 parameters"
    assert (
        " ".join(columns.split())
        == "layer step RMS m sqrt(v_hat) max bound < eps v = 0 spread update kept bytes"
    )
    assert [row.split()[0] for row in rows[:4]] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert "v over 1000 (693); at step 100 sqrt(v) is divided by 0.309" in out
    assert "eps 1e-08: sqrt(v_hat) is below it in 0 of the coordinates; small enough" in out
    assert "memory: 480 bytes (float32 480), 8.28 per parameter" in out
    assert "!" not in out


def test_suspicious_layer_comes_first(capsys):
    _, out, _ = ended("inspect sick.pt --top 1", capsys)
    rows = out.splitlines()
    assert rows[2].startswith("! 1.bias")
    assert rows[3] == "and 3 more layers: --top 4"
    assert rows[4].startswith("! 1.bias: max |m_hat| / sqrt(v_hat) is ")
    assert rows[4].endswith(
        "and no gradients give more than 2.24 at step 100: damage, or changed betas"
    )


def test_state_with_inf_is_marked(capsys):
    held = torch.load("well.pt")
    held["state"][1]["exp_avg_sq"][0] = torch.inf
    held["state"][2]["step"].fill_(torch.inf)
    torch.save(held, "inf.pt")
    code, out, err = ended("inspect inf.pt --png inf.png", capsys)
    assert (code, err) == (0, "")
    rows = [
        line.split()
        for line in out.splitlines()
        if line.startswith("! 0.bias  ") or line.startswith("! 1.weight  ")
    ]
    assert [(row[1], row[2]) for row in rows] == [("0.bias", "100"), ("1.weight", "inf")]
    assert rows[0][4] == "inf"
    assert "! 0.bias: 1 element of its moments is nan or infinite" in out
    assert Path("inf.png").read_bytes().startswith(b"\x89PNG")


def test_other_rule_has_no_bound(capsys):
    x = torch.nn.Parameter(torch.ones(3))
    optimizer = betaplane.LaProp([("x", x)])
    for g in (1.0, 2.0, 3.0):
        x.grad = torch.full((3,), g)
        optimizer.step()
    torch.save(optimizer.state_dict(), "laprop.pt")
    _, out, _ = ended("inspect laprop.pt", capsys)
    row = out.splitlines()[2].split()
    assert row[:2] == ["x", "3"]
    assert row[4:6] == ["-", "-"]
    assert row[9] == "-"


def test_new_betas_print_their_effect(capsys):
    _, out, _ = ended("inspect well.pt --betas 0.9,0.95", capsys)
    assert (
        "at the next step v_hat is 0.141 and m_hat 1 times the right value, updates 2.66 times"
        in out
    )
    assert "within 1% after 74 steps; v has forgotten 99% after 90, m after 44" in out
    assert "multiply exp_avg by 1 and exp_avg_sq by 10.44" in out
    assert "the largest possible update is then 1.16 lr" in out
    _, out, _ = ended("inspect well.pt --betas 0.9,0.8", capsys)
    assert (
        "beta1 >= sqrt(beta2): updates have no bound, and can grow by a factor 1.01 per step" in out
    )


def test_inspect_prints_json(capsys):
    code, out, err = ended("inspect sick.pt --json --betas 0.9,0.999", capsys)
    payload = json.loads(out, parse_constant=pytest.fail)
    assert (code, err) == (0, "")
    assert payload["suspicious"] == ["1.bias"]
    assert payload["rows"][0]["health"]["t"] == 100
    assert payload["planned"][0]["update_at_once"] == pytest.approx(1)
    assert payload["horizons"][0]["memory"] == pytest.approx([10, 1000])


def test_file_without_betas_names_the_option(capsys):
    _, out, _ = ended("inspect bare.pt", capsys)
    assert "The file does not contain the betas: pass them as --trained-with 0.9,0.999." in out
    _, out, _ = ended("inspect bare.pt --trained-with 0.9,0.999 --eps 1e-8", capsys)
    assert out.splitlines()[2].startswith("! parameter 3")


def test_png_is_written(capsys):
    assert ended("inspect well.pt --png drawn/moments.png", capsys)[0] == 0
    assert Path("drawn/moments.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in Path("drawn").iterdir()] == ["moments.png"]


ROWS = {
    "inspect text.pt": "The file is damaged, or not a torch checkpoint (",
    "inspect gone.pt": "There is no such checkpoint: got 'gone.pt'; expected an optimizer's state on disk (inspect).",
    "inspect well.pt --betas 0.9": "Invalid betas: got '0.9'; expected two numbers in [0, 1) (--betas). Try: "
    "--betas 0.9,0.999",
    "inspect well.pt --trained-with 1,2": "--trained-with). Try: --trained-with 0.9,0.999",
    "inspect well.pt --eps=-1": "eps is out of range: got -1.0; expected [0, inf) (inspect",
    "inspect well.pt --png text.pt/x.png": "The results cannot be written (",
    "inspect well.pt --png folder": "The results cannot be written (Is a directory): got 'folder'; expected a folder "
    "that can be written, on a disk with free space (--png). Try: --png moments.png",
    "inspect well.pt --png .": "--png). Try: --png moments.png",
    "inspect well.pt --png well.pt": "The output would replace an input file: got 'well.pt'; expected any "
    "other file (--png). Try: --png moments.png",
}


@pytest.mark.parametrize(("words", "message"), ROWS.items(), ids=ROWS)
def test_bad_input_prints_one_sentence(words: str, message: str, capsys):
    before = {path: path.read_bytes() for path in Path().glob("*.pt")}
    code, out, err = ended(words, capsys)
    assert (code, out) == (2, "")
    assert err.startswith("betaplane: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def test_check_is_exit_code_1_if_a_line_is_marked(capsys):
    assert ended("inspect well.pt --check", capsys)[0] == 0
    code, out, err = ended("inspect sick.pt --check", capsys)
    assert (code, err) == (1, "")
    assert "! 1.bias: max |m_hat| / sqrt(v_hat) is " in out
    assert ended("inspect sick.pt", capsys)[0] == 0


def test_checks_that_could_not_run_are_stated(capsys):
    _, out, _ = ended("inspect bare.pt", capsys)
    assert "Not judged in any layer: the bound, stale v, and counts" in out
    assert "Not judged" not in ended("inspect bare.pt --trained-with 0.9,0.999", capsys)[1]
