"""`watch`: neutrality, schedule, budget, records, and rejected arguments."""

from __future__ import annotations

import math

import pytest
import torch
from benchmarks.failures.planted import adam, train

import betaplane
from betaplane.errors import BadInput
from betaplane.monitor import ALL, Watcher, read_lines, watch
from betaplane.monitor.budget import Budget, Clock
from betaplane.monitor.detectors import THRESHOLDS
from betaplane.problems import digits

MAKERS = {
    "AdamW": adam(),
    "foreach": adam(foreach=True),
    "fused": adam(fused=True),
    "amsgrad": adam(amsgrad=True),
    "NAdam": lambda p: torch.optim.NAdam(p),
    "RAdam": lambda p: torch.optim.RAdam(p),
    "ours": lambda p: betaplane.AdamW(p, max_norm=1.0, zero=True),
    "ours, bfloat16": lambda p: betaplane.AdamW(p, storage="bfloat16"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_parameters_are_bitwise_equal(name: str):
    torch.manual_seed(0)
    watcher, model, _ = train(digits(), 12, MAKERS[name])
    torch.manual_seed(0)
    _, bare, _ = train(digits(), 12, MAKERS[name], watched=False)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), bare.parameters(), strict=True)
    )
    assert watcher.history.step == 12
    assert watcher.history.current_readings()
    assert not watcher.alerts, watcher.report()


def test_readings_match_adams_state():
    watcher, model, _ = train(digits(), 20, adam(weight_decay=0.0))
    now = {reading.layer: reading for reading in watcher.history.current_readings()}
    assert set(now) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert all(
        reading.t == 20 and 0 < reading.reach <= 1 + 1e-6 and reading.finite
        for reading in now.values()
    )
    assert now["2.weight"].weight_rms == pytest.approx(
        model[2].weight.square().mean().sqrt().item()
    )


def test_readings_follow_the_schedule():
    watcher, _, _ = train(digits(), 31, adam(), every=10)
    assert [reading.step for reading in watcher.history.readings["0.bias"]] == [1, 10, 20, 30]


def test_budget_skips_readings():
    watcher, _, _ = train(digits(), 150, adam(), every=1, budget=0.02)
    assert 1 <= len(watcher.history.readings["0.bias"]) < 64


def test_budget_holds_over_time():
    seconds = 0.0
    budget = Budget(0.1, Clock(lambda: seconds))
    while seconds < 10:
        if budget.allows():
            with budget.spending():
                seconds += 0.002
        seconds += 0.001
    assert 0.099 < budget.spent / seconds < 0.101


def test_close_stops_watching():
    p = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([p])
    watcher = watch(optimizer, console=False)
    watcher.close()
    p.grad = torch.ones(2)
    optimizer.step()
    assert watcher.history.step == 0


def test_alerts_are_on_disk_immediately(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text('{"kind": "reading"}\n{"kind": "half')
    watcher, _, _ = train(digits(), 3, adam(betas=(0.95, 0.85)), path=path)
    rows = read_lines(path)
    assert [row["cause"] for row in rows if row["kind"] == "alert"] == [watcher.alerts[0].cause]
    assert len([row for row in rows if row["kind"] == "reading"]) == 1 + 3 * 4


def test_incomplete_line_is_not_read(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text('{"a": 1}\n{"a": ')
    assert read_lines(path) == [{"a": 1}]


def test_console_prints_step_cause_and_change(capsys):
    train(digits(), 2, adam(betas=(0.95, 0.85)), console=True)
    printed = capsys.readouterr().err
    assert printed.startswith("step 1: beta1^2 >= beta2.")
    assert "Change: beta2=0.95" in printed


def test_every_detector_has_why_reason_and_source():
    for detector in ALL:
        assert detector.why.endswith(".")
        assert detector.reason
        assert detector.source
    assert len({detector.cause for detector in ALL}) == len(ALL) == 31


def test_thresholds_belong_to_detectors_and_state_unit_and_reason():
    assert [*THRESHOLDS] == [detector.cause for detector in ALL]
    for detector in ALL:
        deciding, *conditions = THRESHOLDS[detector.cause].values()
        assert detector.threshold == deciding.value
        assert deciding.source
        for threshold in (deciding, *conditions):
            assert threshold.quantity
            assert threshold.unit
            assert threshold.reason


def adamw() -> torch.optim.Optimizer:
    return torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))])


WRONG = {
    "no optimizer": (lambda: watch([1]), "watch() needs an optimizer: got 'list'"),
    "unknown rule": (
        lambda: watch(adamw(), mute=["dead-row"]),
        "Unknown rule 'dead-row'. Did you mean 'dead-rows'?",
    ),
    "every": (
        lambda: watch(adamw(), every=0),
        "every is out of range: got 0; expected 1, 2, 3, ...",
    ),
    "budget": (
        lambda: watch(adamw(), budget=0.0),
        "budget is out of range: got 0.0; expected (0, inf]",
    ),
    "nan": (lambda: watch(adamw(), budget=math.nan), "budget is out of range: got nan"),
    "no folder": (
        lambda: watch(adamw(), path="/nowhere/run.jsonl"),
        "The file cannot be written (No such file",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_rejected(name: str):
    call, message = WRONG[name]
    with pytest.raises(BadInput) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_lost_count_is_reported_for_any_betas():
    """With beta1 = 0 the readings before the loss cannot be extrapolated back."""

    def forget(step: int, optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> None:
        for state in optimizer.state.values() if step == 40 else ():
            state["step"].zero_()

    watcher, _, _ = train(digits(), 60, adam(3e-3, (0.0, 0.99)), before=forget, every=1)
    assert watcher.alerts[0].cause == "step count wrong"
    assert watcher.alerts[0].step == 40


def test_error_in_the_watcher_does_not_stop_the_run():
    def fail(watcher: Watcher) -> None:
        watcher.reader.read = lambda by: 1 / 0

    with pytest.warns(
        UserWarning, match="watching stopped at step 2; training continues. ZeroDivisionError"
    ):
        watcher, model, losses = train(digits(), 9, adam(), after=fail)
    assert len(losses) == 9
    assert watcher.history.step == 2
    _, plain, _ = train(digits(), 9, adam(), watched=False)
    assert all(map(torch.equal, model.parameters(), plain.parameters()))
