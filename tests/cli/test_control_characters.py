"""Names and messages in files never reach a terminal or a page as control characters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ended

from betaplane.replay import Gradients, save
from betaplane.replay.gradients import Layer

BAD = [
    "\x1b[2J\x1b[31mall is well",
    "two\nlines",
    "\u202egnp.exe",
    "\x9b31m",
    "[/bold] $\\frac$ <script>",
]


@pytest.fixture(params=BAD, ids=range(len(BAD)))
def bad(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return request.param


def clean(text: str) -> bool:
    """Whether a text is printable but for line ends, and no name made one."""
    return all(line.isprintable() and line != "lines" for line in text.split("\n"))


def checkpoint(**changes: Any) -> None:
    x = torch.nn.Parameter(torch.ones(3, 3))
    optimizer = torch.optim.AdamW([("x", x)])
    x.grad = torch.ones(3, 3)
    optimizer.step()
    held = optimizer.state_dict()
    held["param_groups"][0] |= changes
    held["state"][0]["exp_avg"][0, 0] = torch.nan
    torch.save(held, "opt.pt")


def test_inspect_escapes_control_characters(bad: str, capsys: pytest.CaptureFixture):
    checkpoint(param_names=[bad])
    code, out, _ = ended("inspect opt.pt --png moments.png", capsys)
    assert code == 0
    assert clean(out)
    assert "1 element of its moments is nan" in out
    checkpoint(lr=bad)
    code, _, err = ended("inspect opt.pt", capsys)
    assert code == 2
    assert clean(err)


def record(bad: str) -> None:
    reading = {"kind": "reading", "layer": bad, "step": 1, "lag": 1.0, "update_rms": 1.0}
    rows = [
        {"kind": "start", "optimizer": bad, "module": bad, "time": bad, "every": 1, "groups": [{"lr": bad}],
         "versions": {bad: bad}},
        {"kind": "losses", "steps": [1, 2], "values": [1.0, 2.0]},
        reading, {**reading, "step": 2},
        {"kind": "alert", "step": 2, "layer": bad, "cause": bad, "evidence": bad, "why": bad, "change": bad,
         "source": bad, "remedy": {bad: bad}},
    ]  # fmt: skip
    Path("run.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_report_escapes_control_characters(bad: str, capsys: pytest.CaptureFixture):
    record(bad)
    code, out, err = ended("report run.jsonl", capsys)
    assert (code, clean(out + err)) in ((0, True), (2, True))
    if code == 0:
        assert bad not in Path("run.html").read_text()


def test_replay_escapes_control_characters(bad: str, capsys: pytest.CaptureFixture):
    drawn = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    about = {"problem": bad}
    save(
        Gradients(drawn, (Layer(bad, (3,), 3),), torch.arange(3), batch_size=8, about=about),
        "grads.safetensors",
    )
    code, out, err = ended("replay grads.safetensors --out drawn", capsys)
    assert code == 0, err
    assert clean(out)
    pages = [path.read_text() for path in Path("drawn").glob("*.html")]
    assert pages
    assert not any(bad in page for page in pages)
