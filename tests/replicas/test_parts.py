"""Parts of the engines: shared inputs, hoisting, windows, certain failures, the pool, the probe."""

import numpy as np
import pytest
import torch
from small_modules import Branching, mlp, problem
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx

from betaplane.errors import BadInput
from betaplane.executors import Local
from betaplane.optim.codegen.hoist import hoist, values
from betaplane.problems import Problem, Trainer
from betaplane.replicas import Options, Run, Speeds, probe
from betaplane.replicas.compiled import _expm1, _lerp
from betaplane.replicas.judge import final_value
from betaplane.replicas.run import certainly_failing, windows
from betaplane.replicas.shared_batch import share_inputs
from betaplane.replicas.worker import train
from betaplane.rules import Adam


def test_shared_inputs_become_one_product():
    x, w = torch.randn(4, 3), torch.randn(5, 3, 2)
    function = vmap(lambda w, x: ((x @ w) ** 2).sum(0) + x.T.sum(1).sum(), in_dims=(0, None))
    graph = make_fx(function, tracing_mode="fake")(w, x)
    before = function(w, x)
    assert share_inputs(graph) == 1
    names = [str(node.target) for node in graph.graph.nodes]
    assert "aten.mm.default" in names
    assert "aten.bmm.default" not in names
    torch.testing.assert_close(graph(w, x), before)


def test_operations_on_constants_are_hoisted_out_of_the_step():
    function = lambda h, x: x * (1 - h).log() + torch.rand(()) * 0  # noqa: E731
    h, x = torch.tensor([0.5, 0.9]), torch.tensor([1.0, 2.0])
    graph = make_fx(function, tracing_mode="fake")(h, x)
    hoisted = values(hoist(graph, {0}), [h, x])
    left = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert "aten.log.default" not in left
    assert "aten.rand.default" in left
    torch.testing.assert_close(graph(h, x, *hoisted), x * (1 - h).log())


def test_running_statistics_are_not_hoisted():
    function = lambda h, x: torch.zeros(2).add_(x) + h  # noqa: E731
    h, x = torch.tensor([0.5, 0.9]), torch.tensor([1.0, 2.0])
    graph = make_fx(function, tracing_mode="fake")(h, x)
    hoisted = values(hoist(graph, {0}), [h, x])
    for _ in range(2):
        torch.testing.assert_close(graph(h, x, *hoisted), h + x)


@pytest.mark.parametrize(("steps", "points"), [(1000, 100), (101, 100), (7, 100), (5, 1)])
def test_windows_add_up_to_the_steps(steps, points):
    lengths = windows(steps, points)
    assert sum(lengths) == steps
    assert len(lengths) <= points
    assert set(lengths[:-1]) <= {lengths[0]}


def test_final_loss_is_the_mean_of_the_last_tenth():
    curve = np.r_[np.full(90, 9.0), np.arange(10.0)]
    assert final_value(curve) == 4.5
    assert final_value(np.r_[curve, np.nan]) == float("inf")
    assert final_value(np.array([])) == float("inf")


def test_only_runs_that_cannot_recover_are_certainly_failing():
    initial = np.ones(4)
    risen = np.r_[np.full(4, 2.0), np.full(4, 2.0)]
    fallen = np.r_[np.full(7, 2.0), 0.5]
    curves = np.stack([risen, fallen, np.r_[np.full(7, 0.1), np.inf], np.full(8, 0.5)])
    assert certainly_failing(curves, initial, points=16).tolist() == [True, False, True, False]
    assert certainly_failing(curves, initial, points=17).tolist() == [False, False, True, False]


def test_workers_return_the_results_of_this_process():
    here, options = problem(mlp), Options(points=5)
    runs = [Run(Adam(0.9, b2), 0.01, 8, 0) for b2 in (0.9, 0.999)]
    with Local(workers=1).start(here.with_(steps=20)) as workers:
        stacked = workers.call(train, runs, "stacked", options)
        plain = workers.call(train, runs, "plain", options)
        speeds = workers.call(probe, runs[0], 2, options)
        with pytest.raises(BadInput, match="cannot be stacked"):
            workers.call(fail)
    mine = train(here.with_(steps=20), runs, "stacked", options)
    for a, b, c in zip(stacked, plain, mine, strict=True):
        np.testing.assert_allclose(a.curve, b.curve, rtol=1e-6)
        np.testing.assert_allclose(a.curve, c.curve, rtol=1e-6)
    assert speeds.stacked > 0
    assert speeds.plain > 0


def fail(problem: Problem) -> None:
    loss = torch.nn.functional.cross_entropy
    branching = Problem("branching", Branching, loss, problem.inputs.float(), problem.targets, 8)
    train(branching, [Run(Adam(), 0.1, 8, 0)], "stacked", Options())


def test_the_faster_engine_is_chosen_with_a_reason():
    assert Speeds(2.0, 1.0, "").engine == "stacked"
    assert Speeds(1.0, 2.0, "").engine == "plain"
    short = probe(problem(Branching), Run(Adam(), 0.01, 8, 0), 4, Options(), steps=4)
    assert short.engine == "plain"
    assert "cannot batch it" in short.note


def test_a_callable_is_called_with_settings_and_seed():
    calls = []

    def loop(settings, seed):
        calls.append((settings, seed))
        return [2.0, 1.0, settings["beta2"]]

    outcomes = train(
        Trainer("loop", loop), [Run(Adam(beta2=0.5), 0.1, 4, 3)], "callable", Options()
    )
    assert calls == [
        (
            {
                "beta1": 0.9,
                "beta2": 0.5,
                "eps": 1e-8,
                "weight_decay": 0.0,
                "lr": 0.1,
                "batch_size": 4,
            },
            3,
        )
    ]
    assert (outcomes[0].initial, outcomes[0].final, outcomes[0].whole) == (2.0, 0.5, True)
    with pytest.raises(BadInput, match="no sequence of losses"):
        train(
            Trainer("none", lambda settings, seed: []),
            [Run(Adam(), 0.1, 4, 3)],
            "callable",
            Options(),
        )


def test_decompositions_for_the_compiler_keep_precision():
    x = -torch.logspace(-7, 1.5, 400)
    exact = torch.expm1(x.double())
    # exp(x) - 1 is off by half of it at 1e-7
    assert ((_expm1(x).double() - exact) / exact).abs().max() < 1e-6
    wide = x.double()
    assert ((_expm1(wide) - torch.expm1(wide)) / torch.expm1(wide)).abs().max() < 1e-13
    old, new, weight = (
        torch.tensor([1.0, -2.0, 0.5]),
        torch.tensor([0.3, 1e8, -0.5]),
        torch.tensor([1.0, 0.0, 1e-4]),
    )
    # beta = 0 and beta = 1 are exact
    assert torch.equal(_lerp(old, new, weight)[:2], torch.tensor([0.3, -2.0]))
    torch.testing.assert_close(_lerp(old, new, weight), torch.lerp(old, new, weight))
