"""Built-in problems train under plain torch, and three stacked replicas equal three separate runs."""

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from betaplane.problems import BUILT_IN, check, load, minibatches

OPTIONS = {"text": ":width=16,context=16", "counterexample": ":x0=-5"}
MORE = (
    "digits:logistic",
    "digits:conv,held_out=97",
    "counterexample:order=shuffle,a=0.5",
    "reddi:C=101,period=100,scale=10,order=replacement",
    "quadratic:A=100",
    "valley:rotated=true,noise=0.1,batch_size=8,dimension=3",
)


def references():
    return [f"{name}{OPTIONS.get(name, '')}" for name in BUILT_IN if name != "mnist"] + list(MORE)


@pytest.fixture
def problem(request, tmp_path):
    if request.param != "mnist":
        return load(request.param)
    file = tmp_path / "images.npz"
    rng = np.random.default_rng(0)
    np.savez(file, x_train=rng.integers(0, 256, (64, 6, 6), np.uint8), y_train=np.arange(64) % 10)
    return load(f"mnist:{file}")


everywhere = pytest.mark.parametrize("problem", [*references(), "mnist"], indirect=True, ids=str)


@everywhere
def test_built_in_problem_trains_under_plain_torch(problem):
    check(problem)
    module = problem.fresh(0)
    start = [p.detach().clone() for p in module.parameters()]
    rule = torch.optim.Adam(module.parameters(), lr=problem.lr)
    for batch in next(minibatches(problem.examples, problem.batch_size, problem.order, 0, 5)):
        rule.zero_grad()
        loss = problem.loss(module(problem.inputs[batch]), problem.targets[batch])
        loss.backward()
        rule.step()
        assert torch.isfinite(loss)
    assert all(not torch.equal(a, b) for a, b in zip(start, module.parameters(), strict=True))


@everywhere
def test_three_stacked_replicas_equal_three_runs(problem):
    modules = [problem.fresh(seed) for seed in range(3)]
    parameters, buffers = stack_module_state(modules)
    parameters = {name: p.detach() for name, p in parameters.items()}
    template = problem.fresh(0)

    def loss(parameters, buffers, x, y):
        return problem.loss(functional_call(template, (parameters, buffers), (x,)), y)

    stacked = vmap(grad_and_value(loss), in_dims=(0, 0, None, None))
    batches = next(minibatches(problem.examples, problem.batch_size, problem.order, 0, 4))
    scale = (
        max(1.0, problem.inputs.abs().max().item()) if problem.inputs.is_floating_point() else 1.0
    )
    for batch in batches:
        x, y = problem.inputs[batch], problem.targets[batch]
        gradients, losses = stacked(parameters, buffers, x, y)
        for i, module in enumerate(modules):
            module.zero_grad()
            alone = problem.loss(module(x), y)
            alone.backward()
            assert losses[i].item() == pytest.approx(
                alone.detach().item(), rel=1e-5, abs=1e-5 * scale
            )
            for name, p in module.named_parameters():
                assert torch.allclose(gradients[name][i], p.grad, rtol=1e-5, atol=1e-5)
                p.data -= 0.01 * p.grad
        parameters = {name: p - 0.01 * gradients[name] for name, p in parameters.items()}


@everywhere
def test_a_fresh_module_is_a_function_of_the_seed(problem):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, second = (dict(problem.fresh(3).named_parameters()) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(before, torch.get_rng_state())
