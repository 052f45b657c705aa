"""Batched readings against the float64 reference; recorded gradients against those of the run."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import betaplane
from betaplane.monitor.capture.adam_state import StepValues
from betaplane.monitor.quantities.batched import MEDIAN_ELEMENTS, TensorSample, read_all
from betaplane.monitor.quantities.formulas import debias, rms, update
from betaplane.monitor.quantities.reading import BeforeStep, read
from betaplane.monitor.quantities.step_stats import TOLERANCE
from betaplane.monitor.recorders.moment_recorder import MomentRecorder, Track

EXACTLY = (
    "layer",
    "step",
    "t",
    "before",
    "shape",
    "dtype",
    "lr",
    "beta1",
    "beta2",
    "eps",
    "finite",
    "warm",
)


def sample(
    name: str, n: int, seed: int, dtype: torch.dtype = torch.float32, **change: object
) -> TensorSample:
    """Moments after 20 steps of gradients of very different sizes."""
    g = torch.randn(20, n, generator=torch.Generator().manual_seed(seed)) * torch.logspace(-9, 0, n)
    g[:, ::7] = 0
    m, v, old = torch.zeros(n), torch.zeros(n), torch.zeros(n)
    for each in g:
        old = v.to(dtype)
        m, v = 0.9 * m + 0.1 * each, 0.99 * v + 0.01 * each.square()
    x = torch.randn(n, generator=torch.Generator().manual_seed(seed + 1))
    before = BeforeStep(g[-1].to(dtype), old, 19.0)
    now = TensorSample(
        name,
        (n,),
        StepValues(1e-3, 0.9, 0.99, 1e-6),
        before,
        x.to(dtype),
        m.to(dtype),
        v.to(dtype),
        20.0,
    )
    return now._replace(**change)


def nan(taken: TensorSample) -> TensorSample:
    g = taken.before.g.clone()
    g[0] = torch.nan
    return taken._replace(before=taken.before._replace(g=g))


ROWS = {
    "float32": lambda: sample("a", 100, 0),
    "one coordinate": lambda: sample("b", 1, 1),
    "bfloat16": lambda: sample("c", 60, 2, torch.bfloat16),
    "float16, underflown": lambda: sample("d", 60, 3, torch.float16),
    "first step": lambda: sample("e", 30, 4, before=BeforeStep(torch.ones(30), None, 0.0), t=1.0),
    "other numbers": lambda: sample("f", 30, 5, values=StepValues(0.1, 0.0, 0.999, 0.0)),
    "no weights": lambda: sample("h", 30, 6, x=torch.zeros(30)),
    "stochastic rounding": lambda: sample(
        "i", 30, 7, before=BeforeStep(torch.ones(30), torch.ones(30), 3.0, None, True)
    ),
    "not finite": lambda: nan(sample("j", 30, 8)),
}


def assert_alike(taken: TensorSample, reading: object) -> None:
    wide = read(
        taken.layer, 5, taken.shape, taken.values, taken.before, taken.x, taken.m, taken.v, taken.t
    )
    for name in EXACTLY:
        assert getattr(reading, name) == getattr(wide, name), name
    for name in set(wide._fields) - {*EXACTLY}:
        assert getattr(reading, name) == pytest.approx(
            getattr(wide, name), rel=2e-5, abs=1e-30, nan_ok=True
        ), name


@pytest.mark.parametrize("name", ROWS)
def test_batched_reading_of_one_tensor_equals_the_reference(name: str):
    taken = ROWS[name]()
    [reading] = read_all(5, [taken])
    assert_alike(taken, reading)


def test_batched_readings_of_all_tensors_are_independent():
    rows = [make() for make in ROWS.values()]
    for taken, reading in zip(rows, read_all(5, rows), strict=True):
        assert_alike(taken, reading)


def test_no_tensors_give_no_readings():
    assert read_all(1, []) == []


def test_median_of_a_large_tensor_is_sampled():
    taken = sample("a", 10 * MEDIAN_ELEMENTS, 0)
    [reading] = read_all(5, [taken])
    assert reading.root_median == pytest.approx(
        read_all(5, [sample("a", 10 * MEDIAN_ELEMENTS, 0)])[0].root_median
    )
    assert 0.5 < reading.root_median / read("a", 5, (1,), *taken[2:]).root_median < 2


class Run:
    """A small network, its optimizer, and the gradients of all steps."""

    def __init__(self, make: object, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(12, 30), nn.Tanh(), nn.Linear(30, 3)).to(dtype)
        self.optimizer = make(self.model.parameters())
        self.x = torch.randn(64, 12, dtype=dtype)
        self.gradients: list[list[torch.Tensor]] = []

    def step(self) -> None:
        rows = torch.randint(64, (8,))
        self.optimizer.zero_grad()
        self.model(self.x[rows]).square().mean().backward()
        self.gradients.append([p.grad.detach().clone().flatten() for p in self.model.parameters()])
        self.optimizer.step()


MAKERS = {
    "AdamW": (lambda p: torch.optim.AdamW(p), torch.float32, 1e-4),
    "float64": (lambda p: torch.optim.AdamW(p), torch.float64, 1e-10),
    "no momentum": (lambda p: torch.optim.Adam(p, betas=(0.0, 0.99)), torch.float32, 1e-6),
    "fused": (lambda p: torch.optim.AdamW(p, fused=True), torch.float32, 1e-4),
    "amsgrad": (lambda p: torch.optim.Adam(p, amsgrad=True), torch.float32, 1e-4),
    "NAdam": (lambda p: torch.optim.NAdam(p), torch.float32, 1e-4),
    "RAdam": (lambda p: torch.optim.RAdam(p), torch.float32, 1e-4),
    "bfloat16": (lambda p: torch.optim.AdamW(p), torch.bfloat16, 0.1),
    "ours": (lambda p: betaplane.AdamW(p), torch.float32, 1e-4),
    "ours, eager": (lambda p: betaplane.AdamW(p, path="eager"), torch.float32, 1e-4),
}


@pytest.mark.parametrize("name", MAKERS)
def test_recorder_recomputes_the_gradients(name: str):
    make, dtype, error = MAKERS[name]
    run = Run(make, dtype)
    recorder = MomentRecorder(run.optimizer, length=16)
    for step in range(1, 31):
        run.step()
        assert recorder.record(step)
        recorder.new_stats()
    for i, slot in enumerate(recorder.coordinates):
        past = recorder.recorded(i)
        truth = torch.stack([each[i][:: slot.spacing] for each in run.gradients[-16:]]).to(
            past.g.dtype
        )
        assert past.g.shape == truth.shape
        assert float((past.g - truth).norm() / truth.norm()) < error
        assert past.t == 14


def test_step_stats_equal_those_of_the_elements():
    run = Run(lambda p: torch.optim.AdamW(p))
    recorder, seen = MomentRecorder(run.optimizer), []
    for step in range(1, 13):
        run.step()
        recorder.record(step)
        seen += recorder.new_stats() if step % 4 == 0 else []
    assert [light.step for light in seen] == [*range(1, 13)]
    param_states = [run.optimizer.state[slot.p] for slot in recorder.coordinates]
    parts = [
        [each[key].double().flatten()[:: slot.spacing] for key in ("exp_avg", "exp_avg_sq")]
        for each, slot in zip(param_states, recorder.coordinates, strict=True)
    ]
    sizes = [rms(update(*debias(m, v, 12, 0.9, 0.999), 1e-8)) for m, v in parts]
    last, before = (
        torch.cat(
            [
                g.double()[:: slot.spacing]
                for g, slot in zip(each, recorder.coordinates, strict=True)
            ]
        )
        for each in (run.gradients[-1], run.gradients[-2])
    )
    light = seen[-1]
    assert light.update == pytest.approx(max(sizes), rel=1e-4)
    assert light.layer == recorder.coordinates[sizes.index(max(sizes))].name
    assert light.norm == pytest.approx(last.norm().item(), rel=1e-4)
    assert light.correlation == pytest.approx(
        float(last @ before / last.norm() / before.norm()), abs=1e-4
    )
    lags = [
        rms(g.double()[:: slot.spacing] / debias(m, v, 12, 0.9, 0.999)[1])
        for g, slot, (m, v) in zip(run.gradients[-1], recorder.coordinates, parts, strict=True)
    ]
    assert light.lag == pytest.approx(max(lags), rel=1e-4)
    assert light.finite


def test_step_stats_do_not_depend_on_the_block_length():
    stats = []
    for every in (1, 3, 12):
        run, seen = Run(lambda p: torch.optim.AdamW(p)), []
        recorder = MomentRecorder(run.optimizer)
        for step in range(1, 13):
            run.step()
            recorder.record(step)
            seen += recorder.new_stats() if step % every == 0 else []
        stats.append([value for light in seen for value in light if not isinstance(value, str)])
    assert stats[1] == pytest.approx(stats[0], rel=1e-5)
    assert stats[2] == pytest.approx(stats[0], rel=1e-5)


def test_tensor_without_a_gradient_restarts_alone():
    run = Run(lambda p: torch.optim.AdamW(p))
    recorder = MomentRecorder(run.optimizer)
    for step in range(1, 21):
        run.model[2].requires_grad_(step != 12)
        run.step() if step != 12 else without(run, 2)
        recorder.record(step)
    recorder.new_stats()
    assert [recorder.steps_recorded(i) for i in range(4)] == [20, 20, 8, 8]


def without(run: Run, layer: int) -> None:
    run.optimizer.zero_grad()
    run.model(run.x[:8]).square().mean().backward()
    assert run.model[layer].weight.grad is None
    run.optimizer.step()


def test_moments_of_another_step_restart_the_record():
    run = Run(lambda p: torch.optim.AdamW(p))
    recorder = MomentRecorder(run.optimizer)
    for step in range(1, 21):
        run.step()
        recorder.record(step)
        if step == 5:
            old = copy.deepcopy(run.optimizer.state_dict())
        if step == 15:
            run.optimizer.load_state_dict(old)
    recorder.new_stats()
    assert Track(recorder, 0).last_step == 20
    assert recorder.steps_recorded(0) == 4


def test_other_rule_for_v_is_not_replayed():
    class Odd(torch.optim.AdamW):
        def step(self) -> None:
            super().step()
            for state in self.state.values():
                state["exp_avg_sq"].mul_(1 + 10 * TOLERANCE)

    run = Run(lambda p: Odd(p))
    recorder = MomentRecorder(run.optimizer)
    for step in range(1, 11):
        run.step()
        recorder.record(step)
    assert [light.norm for light in recorder.new_stats()] == [0.0] * 10
    assert recorder.recorded(0) is None


def test_other_betas_restart_the_record():
    run = Run(lambda p: torch.optim.AdamW(p))
    recorder = MomentRecorder(run.optimizer)
    for step in range(1, 31):
        run.step()
        recorder.record(step)
        if step == 16:
            run.optimizer.param_groups[0]["betas"] = (0.8, 0.99)
    recorder.new_stats()
    assert 0 < recorder.steps_recorded(0) < 14
    past = recorder.recorded(0)
    assert past.values.beta1 == 0.8
    truth = torch.stack(
        [each[0][:: recorder.coordinates[0].spacing] for each in run.gradients[-len(past.g) :]]
    )
    assert float((past.g - truth).norm() / truth.norm()) < 1e-4


def test_record_is_small_relative_to_a_large_state():
    p = [nn.Parameter(torch.zeros(100, 1000)) for _ in range(30)]
    optimizer = torch.optim.AdamW(p)
    for each in p:
        each.grad = torch.ones_like(each)
    optimizer.step()
    recorder = MomentRecorder(optimizer)
    recorder.record(1)
    assert recorder.nbytes < 0.0115 * 30 * 100 * 1000 * 8
