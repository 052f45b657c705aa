"""Actions on alerts, batches in alerts, and step numbers of a resumed run."""

from __future__ import annotations

import math

import pytest
import torch

import betaplane
from betaplane.monitor import read_lines

NAN_STEP = 40


def run(nan_at: int = NAN_STEP, steps: int = 60, **options):
    """A regression whose loss is NaN at one step; returns watcher, weight, and parameters by step."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(4, 3))
    optimizer = torch.optim.AdamW([("weight", weight)], lr=0.05)
    target, path = torch.randn(4, 3), []
    options = {"budget": math.inf, "console": False, **options}
    with betaplane.watch(optimizer, **options) as watcher:
        for step in range(1, steps + 1):
            loss = (weight - target + 0.1 * torch.randn(4, 3)).square().mean()
            if step == nan_at:
                loss = loss * math.nan
            optimizer.zero_grad()
            loss.backward()
            watcher.batch(torch.arange(10 * step, 10 * step + 10))
            watcher.loss(loss)
            optimizer.step()
            path.append(weight.detach().clone())
            if watcher.stop_requested:
                break
    return watcher, optimizer, path


def test_a_skipped_step_leaves_parameters_state_and_gradients():
    watcher, optimizer, path = run(act={"non-finite-loss": "skip"})
    assert torch.equal(path[NAN_STEP - 1], path[NAN_STEP - 2])
    (weight,) = optimizer.param_groups[0]["params"]
    assert optimizer.state[weight]["step"] == 59
    assert all(p.isfinite().all() for p in path)
    assert ("non-finite-loss", "skip") in [(x.rule, x.action) for x in watcher.alerts]
    assert weight.grad is not None


def test_without_act_the_run_is_bitwise_the_same_and_nothing_is_skipped():
    _, _, watched = run(budget=math.inf)
    _, _, barely = run(budget=1e-9)
    assert watched[NAN_STEP - 1].isnan().all()
    assert all(torch.equal(a, b) for a, b in zip(watched[:39], barely[:39], strict=True))


def test_stop_is_requested_by_a_function_of_the_alert():
    seen = []

    def act(alert):
        seen.append(alert.rule)
        return "stop" if alert.rule == "non-finite-loss" else None

    watcher, _, path = run(act=act)
    assert len(path) == NAN_STEP
    assert "non-finite-loss" in seen
    assert watcher.stop_requested


def test_clip_limits_all_gradients_from_then_on():
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    with betaplane.watch(
        optimizer, budget=math.inf, console=False, act=lambda alert: "clip"
    ) as watcher:
        for step in range(40):
            weight.grad = torch.full((3,), 0.1)
            before = weight.detach().clone()
            if step == 30:
                watcher.loss(math.nan)
            if step == 35:
                weight.grad *= 1e6
            optimizer.step()
            assert (before - weight).norm() <= 0.1 * 3**0.5 * 1.001
    assert watcher.alerts[0].action == "clip"


def test_an_alert_lists_the_examples_of_its_step():
    watcher, _, _ = run()
    alert = watcher.alerts[0]
    assert alert.batch == tuple(range(400, 410))
    assert "Batch: 400, 401, 402, 403, 404, 405, 406, 407, ... (10 examples)." in str(alert)


def test_steps_of_a_resumed_run_begin_at_start(tmp_path):
    path = tmp_path / "run.jsonl"
    watcher, _, _ = run(start=5000, path=path)
    assert watcher.alerts[0].step == 5000 + NAN_STEP
    assert "5040" in watcher.alerts[0].evidence
    assert watcher.alerts[0].batch == tuple(range(400, 410))
    rows = read_lines(path)
    assert min(row["step"] for row in rows if row["kind"] == "reading") == 5001
    assert next(row["steps"][0] for row in rows if row["kind"] == "losses") == 5001


def test_a_healthy_resumed_run_has_no_alert():
    watcher, _, _ = run(nan_at=0, start=123_456, steps=300)
    assert watcher.alerts == []
    assert watcher.report().startswith("No alert in 300 steps, 3")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"start": -1}, "start is out of range"),
        ({"act": "skip"}, "act is of the wrong type"),
        ({"act": {"dead-row": "skip"}}, "Did you mean 'dead-rows'"),
        ({"act": {"dead-rows": "skp"}}, "Did you mean 'skip'"),
    ],
)
def test_wrong_arguments_are_named(options, match):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
    with pytest.raises(betaplane.BadInput, match=match):
        betaplane.watch(optimizer, **options)
