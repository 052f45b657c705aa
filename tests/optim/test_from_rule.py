"""Torch's optimizers against the rules: same numbers on every memory layout, and torch.optim's
contract.
"""

from __future__ import annotations

import copy
import inspect
import io
import pickle
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

import betaplane.optim
from betaplane.errors import BadInput
from betaplane.optim import RuleOptimizer, host_optimizer, optimizer_class
from betaplane.optim.from_rule import options
from betaplane.optim.torch_classes import CLASS_OF_RULE
from betaplane.optim.torch_compatible import TorchCompatible
from betaplane.rules import ALL, NAMES, SGD, Adagrad, Adam, AdamW, AMSGrad, RMSprop, Rule

RULES = [
    *(kind() for kind in ALL),
    SGD(momentum=0.9, dampening=0.3, weight_decay=0.1),
    SGD(momentum=0.9, nesterov=True),
    SGD(dampening=0.5, nesterov=False),
    SGD(nesterov=True),
    Adagrad(lr_decay=0.1, initial_accumulator=0.5, weight_decay=0.1),
    RMSprop(momentum=0.9, centered=True, weight_decay=0.1),
    RMSprop(eps_inside=True),
    Adam(beta1=0.0, beta2=0.5, eps=0.01, weight_decay=0.1),
    AdamW(weight_decay=0.3),
    AMSGrad(beta2=0.9, weight_decay=0.1),
    AMSGrad(beta2=0.9, correction="before"),
    AMSGrad(beta2=0.9, debias="none"),
]
SHAPE = (4, 3, 2, 5)
LAYOUTS = {
    "contiguous": lambda x: x.clone(),
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(0, 3).contiguous().transpose(0, 3),
    "strided": lambda x: torch.zeros(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype)[..., ::2].copy_(
        x
    ),
}
each = pytest.mark.parametrize("rule", RULES, ids=str)
one_each = pytest.mark.parametrize("rule", [kind() for kind in ALL], ids=NAMES)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def followed(rule: Rule, x: Tensor, gradients: Tensor, lrs: list[float]) -> Tensor:
    s = rule.init(x)
    for g, lr in zip(gradients, lrs, strict=True):
        x, s = rule.step(x, g, s, lr)
    return x


def stepped(optimizer: torch.optim.Optimizer, p: Tensor, gradients: Tensor) -> None:
    for g in gradients:
        p.grad = g
        optimizer.step()


# ---- the same numbers


@each
@pytest.mark.parametrize("of_g", LAYOUTS)
@pytest.mark.parametrize("of_x", LAYOUTS)
def test_agrees_with_the_rule_on_every_layout(rule: Rule, of_x: str, of_g: str) -> None:
    x, gradients = numbers(*SHAPE), numbers(20, *SHAPE, seed=1)
    p = nn.Parameter(LAYOUTS[of_x](x))
    optimizer = host_optimizer(rule, [p], lr=0.01)
    for g in gradients:
        p.grad = LAYOUTS[of_g](g)
        optimizer.step()
    assert torch.allclose(p, followed(rule, x, gradients, [0.01] * 20), rtol=1e-12, atol=1e-12)
    assert p.stride() == LAYOUTS[of_x](x).stride()


@each
def test_agrees_in_float32(rule: Rule) -> None:
    x, gradients = numbers(6), numbers(20, 6, seed=1)
    p = nn.Parameter(x.float())
    stepped(host_optimizer(rule, [p], lr=0.01), p, gradients.float())
    assert p.dtype == torch.float32
    assert torch.allclose(
        p.double(), followed(rule, x, gradients, [0.01] * 20), rtol=1e-4, atol=1e-5
    )


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_number_as_a_parameter(rule: Rule, dtype: torch.dtype) -> None:
    """The step count, wider than bfloat16, must not promote a 0-d parameter or its state."""
    p = nn.Parameter(torch.tensor(1.0, dtype=dtype))
    optimizer = host_optimizer(rule, [p], lr=0.01)
    stepped(optimizer, p, torch.tensor([0.5, -0.25], dtype=dtype))
    assert p.dtype == dtype
    fresh = rule.init(torch.zeros(2))
    counts = {"step", *(name for name in fresh._fields if getattr(fresh, name).dim() == 0)}
    assert all(
        value.dtype == dtype
        for word, value in optimizer.state[p].items()
        if word not in counts and value is not None
    )
    expected = followed(
        rule,
        torch.ones(1, dtype=torch.float64),
        torch.tensor([[0.5], [-0.25]], dtype=torch.float64),
        [0.01] * 2,
    )
    assert p.item() == pytest.approx(expected.item(), rel=2e-2 if dtype == torch.bfloat16 else 1e-5)


@dataclass(frozen=True)
class Mine(Adam):
    """Someone's own rule, derived from Adam."""


def test_which_optimizer() -> None:
    p = nn.Parameter(torch.zeros(4, 4))
    for kind in ALL:
        optimizer = host_optimizer(kind(), [p])
        assert type(optimizer).__name__ == ("Adam" if kind is AMSGrad else kind.__name__)
        fused = kind is AMSGrad or (kind in CLASS_OF_RULE and CLASS_OF_RULE[kind].has_fused_kernel)
        assert isinstance(optimizer, TorchCompatible if fused else RuleOptimizer)
        assert optimizer.defaults["lr"] == kind.lr
        found = optimizer.rule_of(optimizer.param_groups[0])
        assert found == (
            replace(kind(), peak_lr=kind.lr) if getattr(found, "peak_lr", None) else kind()
        )  # type: ignore[call-arg]
    for rule in (Mine(), AMSGrad(correction="before"), SGD(nesterov=True)):
        optimizer = host_optimizer(rule, [p])
        assert type(optimizer).__name__ == type(rule).__name__
        assert isinstance(optimizer, RuleOptimizer)
    twisted = host_optimizer(AMSGrad(debias="none", beta2=0.9), [p])
    assert twisted.rule_of(twisted.param_groups[0]) == AMSGrad(debias="none", beta2=0.9)


def test_an_unknown_option_of_a_group_is_not_ignored() -> None:
    p = nn.Parameter(torch.zeros(2))
    for kind in (optimizer_class(AMSGrad), betaplane.AdamW):
        with pytest.raises(
            BadInput,
            match=r"Unknown option 'beta1'\. Did you mean 'betas'\? Choose one of: lr, betas, eps",
        ):
            kind([{"params": p, "beta1": 0.0}])


@one_each
def test_state_loaded_from_another_layout(rule: Rule) -> None:
    """A run saved by a channels_last model continues in a contiguous one."""
    x, gradients = numbers(*SHAPE), numbers(8, *SHAPE, seed=1)
    one, two = nn.Parameter(LAYOUTS["channels_last"](x)), nn.Parameter(x.clone())
    first = host_optimizer(rule, [one], lr=0.01)
    stepped(first, one, gradients[:4])
    second = host_optimizer(rule, [two], lr=0.01)
    second.load_state_dict(
        {**first.state_dict(), "param_groups": second.state_dict()["param_groups"]}
    )
    two.data.copy_(one.data)
    stepped(second, two, gradients[4:])
    assert torch.allclose(two, followed(rule, x, gradients, [0.01] * 8), rtol=1e-12, atol=1e-12)


# ---- torch.optim's contract


def slow(rule: Rule, params) -> RuleOptimizer:
    return optimizer_class(type(rule))(params, lr=0.01, **options(rule))


def makers(rule: Rule) -> list:
    return [lambda params: host_optimizer(rule, params, lr=0.01), lambda params: slow(rule, params)]


both = pytest.mark.parametrize("which", [0, 1], ids=["host", "rule"])


@one_each
@both
def test_schedulers(rule: Rule, which: int) -> None:
    x, gradients = numbers(5), numbers(6, 5, seed=1)
    p = nn.Parameter(x.clone())
    optimizer = makers(rule)[which]([p])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    for g in gradients:
        p.grad = g
        optimizer.step()
        scheduler.step()
    lrs = [0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025]
    rule = replace(rule, peak_lr=0.01) if "peak_lr" in rule.ranges else rule  # type: ignore[call-arg]
    assert torch.allclose(p, followed(rule, x, gradients, lrs), rtol=1e-12, atol=1e-12)


@one_each
@both
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_state_dict_round_trip(rule: Rule, which: int, dtype: torch.dtype) -> None:
    """Saved, read back with weights_only, loaded and gone on with: the same numbers to the last
    bit.
    """
    x, gradients = numbers(5).to(dtype), numbers(6, 5, seed=1).to(dtype)
    straight, before, after = (nn.Parameter(x.clone()) for _ in range(3))
    make = makers(rule)[which]
    stepped(make([straight]), straight, gradients)
    saved = make([before])
    stepped(saved, before, gradients[:3])
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    loaded = make([after])
    loaded.load_state_dict(torch.load(file, weights_only=True))
    after.data.copy_(before.data)
    stepped(loaded, after, gradients[3:])
    assert torch.equal(after, straight)


@one_each
def test_copies_and_pickles(rule: Rule) -> None:
    x, gradients = numbers(5), numbers(4, 5, seed=1)
    p = nn.Parameter(x.clone())
    optimizer = slow(rule, [p])
    stepped(optimizer, p, gradients[:2])
    q, copied = copy.deepcopy((p, optimizer))
    r, pickled = pickle.loads(pickle.dumps((p, optimizer)))
    for parameter, one in ((p, optimizer), (q, copied), (r, pickled)):
        stepped(one, parameter, gradients[2:])
    assert torch.equal(p, q)
    assert torch.equal(p, r)


def test_state_is_plain_tensors_by_name() -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = optimizer_class(AMSGrad)([p])
    stepped(optimizer, p, torch.ones(2, 3))
    assert list(optimizer.state[p]) == ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
    assert all(type(value) is Tensor for value in optimizer.state[p].values())
    assert optimizer.state[p]["step"].item() == 2
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


def test_groups_change_the_rule() -> None:
    x, gradients = numbers(5), numbers(4, 5, seed=1)
    decayed, kept, late = (nn.Parameter(x.clone()) for _ in range(3))
    rule = AdamW(weight_decay=0.5)
    optimizer = optimizer_class(AdamW)(
        [{"params": (p for p in [decayed])}], lr=0.01, weight_decay=0.5
    )
    optimizer.add_param_group({"params": kept, "weight_decay": 0.0, "lr": 0.1})
    optimizer.add_param_group({"params": [late], "betas": (0.0, 0.999)})
    for g in gradients:
        decayed.grad, kept.grad, late.grad = g, g, g
        optimizer.step()
    for p, its_rule, lr in (
        (decayed, rule, 0.01),
        (kept, AdamW(weight_decay=0.0), 0.1),
        (late, AdamW(beta1=0.0, weight_decay=0.5), 0.01),
    ):
        assert torch.equal(p, followed(its_rule, x, gradients, [lr] * 4))


@both
def test_named_parameters(which: int) -> None:
    module = nn.Linear(2, 2)
    optimizer = makers(RMSprop())[which](module.named_parameters())
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]


def test_closure_and_hooks() -> None:
    p = nn.Parameter(torch.tensor([3.0]))
    optimizer, calls = optimizer_class(SGD)([p], lr=0.5), []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0
    assert p.item() == 0.0
    assert calls == ["before", "after"]


def test_parameters_without_a_gradient_rest() -> None:
    p, q = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = optimizer_class(AdamW)([p, q])
    p.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(q, torch.ones(2))
    assert q not in optimizer.state


@each
def test_the_gradient_is_left_alone(rule: Rule) -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = host_optimizer(replace(rule), [p])
    g = torch.tensor([1.0, -2.0, 3.0])
    p.grad = g
    optimizer.step()
    assert p.grad is g
    assert torch.equal(g, torch.tensor([1.0, -2.0, 3.0]))


# ---- bad input


def sparse_step() -> None:
    table = nn.Embedding(3, 2, sparse=True)
    optimizer = optimizer_class(AMSGrad)(table.parameters())
    table(torch.tensor([1])).sum().backward()
    optimizer.step()


def some() -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(2))]


RULED = optimizer_class(AMSGrad)


def loaded(optimizer: torch.optim.Optimizer, **state) -> None:
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(
        {"state": {0: {"step": torch.tensor(1.0), **state}}, "param_groups": groups}
    )


BAD = [
    (
        lambda: host_optimizer(Adam(), some(), lr=-0.1),
        "Invalid learning rate: -0.1: expected [0, inf) (Adam",
    ),
    (lambda: host_optimizer(Adam(), some(), lr=float("nan")), "Invalid learning rate: nan"),
    (lambda: host_optimizer(Adam(), some(), lr=float("inf")), "lr is out of range: got inf"),
    (lambda: RULED(some(), lr=float("inf")), "lr is out of range: got inf"),
    (lambda: RULED([{"params": some(), "lr": -1.0}]), "lr is out of range: got -1.0"),
    (
        lambda: RULED([{"params": some(), "betas": (0.9, 1.5)}]),
        "beta2 is out of range: got 1.5; expected [0, 1) (AMSGrad). Try: beta2=0.999",
    ),
    (
        lambda: RULED(some(), betas=(0.9,)),
        "betas do not fit: got (0.9,); expected 2 numbers in [0, 1) (AMSGrad). Try: betas=(0.9, 0.999)",
    ),
    (
        lambda: RULED(some(), beta=0.9),
        "Unknown argument 'beta'. Did you mean 'betas'? Choose one of: lr, betas, eps, weight_decay",
    ),
    (
        lambda: host_optimizer(Adam(), [{"params": some(), "lr": -1.0}]),
        "lr is out of range: got -1.0",
    ),
    (
        lambda: host_optimizer(Adam(), [{"params": some(), "eps": -1.0}]),
        "eps is out of range: got -1.0",
    ),
    (
        lambda: host_optimizer(Adam(), []),
        "optimizer got an empty parameter list: expected at least 1 parameter (Adam",
    ),
    (lambda: RULED([]), "There are no parameters: expected at least 1 (params"),
    (lambda: RULED(nn.ReLU().parameters()), "There are no parameters"),
    (
        lambda: RULED(torch.zeros(2)),
        "should be an iterable of Tensors or dicts: got 'Tensor'; expected parameters",
    ),
    (
        lambda: host_optimizer(Adam(), [torch.zeros(2, 3, dtype=torch.int64)]),
        "A parameter is not of floating point: got torch.int64",
    ),
    (
        lambda: RULED([torch.zeros(2, 3, dtype=torch.int64)]),
        "expected float64, float32, bfloat16, float16 or complex (a parameter of shape (2, 3)",
    ),
    (
        sparse_step,
        "The gradient is sparse: got torch.sparse_coo; expected torch.strided (the gradient of a parameter",
    ),
    (
        lambda: loaded(host_optimizer(Adam(), some()), square_avg=torch.zeros(2)),
        "The state dict is another rule's: got 'square_avg'; expected step, exp_avg, exp_avg_sq (parameter 0 of Adam",
    ),
    (
        lambda: loaded(RULED(some()), exp_avg=torch.zeros(3)),
        "The state exp_avg has another shape: got (3,); expected (2,) (parameter 0 of AMSGrad",
    ),
    (
        lambda: RULED(some()).load_state_dict(RULED([*some(), *some()]).state_dict()),
        "The state dict is for other groups: got [2]; expected [1] parameters (AMSGrad",
    ),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    with pytest.raises(BadInput) as error:
        call()
    assert text in str(error.value)


def test_exported_names() -> None:
    public = {
        n
        for n, v in vars(betaplane.optim).items()
        if not (n.startswith("_") or inspect.ismodule(v))
    }
    assert set(betaplane.optim.__all__) == (public | {kind.__name__ for kind in ALL}) - {
        "ALL",
        "CLASS_OF_RULE",
        "Any",
        "explain_calls",
    }
    for name in betaplane.optim.__all__:
        assert getattr(betaplane.optim, name)
