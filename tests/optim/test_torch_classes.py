"""Torch's classes and ours of the same name: the same numbers, on any layout, type and option
torch's tests know.
"""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db

from betaplane.errors import BadInput
from betaplane.optim import from_torch, torch_classes
from betaplane.optim.dispatch import StepPath, choose_path, group_facts
from betaplane.optim.step.preconditions import CheckedGroup
from betaplane.optim.torch_compatible import TorchCompatible

CLASS_OF_RULE: dict[str, type[TorchCompatible]] = {
    kind.__name__: kind for kind in torch_classes.TORCH_CLASSES
}
each = pytest.mark.parametrize("kind", CLASS_OF_RULE.values(), ids=list(CLASS_OF_RULE))
fused = pytest.mark.parametrize(
    "kind",
    [kind for kind in CLASS_OF_RULE.values() if kind.has_fused_kernel],
    ids=lambda kind: kind.__name__,
)
INFOS = {
    entry.optim_cls.__name__: entry
    for entry in optim_db
    if entry.optim_cls.__name__ in CLASS_OF_RULE
}
LAYOUTS = {
    "contiguous": lambda x: x.clone(),
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(0, 3).contiguous().transpose(0, 3),
    "strided": lambda x: torch.zeros(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype)[..., ::2].copy_(
        x
    ),
}
SHAPE = (4, 3, 2, 5)


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def stepped(optimizer: torch.optim.Optimizer, p: Tensor, gradients: Any) -> Tensor:
    for g in gradients:
        p.grad = g
        optimizer.step()
    return p.detach()


def options(kind: type[TorchCompatible]) -> list[dict[str, Any]]:
    entry = INFOS[kind.__name__]
    return [case.kwargs for case in entry.optim_inputs_func("cpu", torch.float64)]


# ---- layouts, first of all: a wrong one corrupts memory


@fused
@pytest.mark.parametrize("of_g", LAYOUTS)
@pytest.mark.parametrize("of_x", LAYOUTS)
def test_every_layout_gives_the_same_numbers(
    kind: type[TorchCompatible], of_x: str, of_g: str
) -> None:
    x, gradients = numbers(*SHAPE), numbers(6, *SHAPE, seed=1)
    slow = nn.Parameter(x.clone())
    expected = stepped(kind.torch_class([slow], lr=0.01, foreach=False), slow, gradients)
    p = nn.Parameter(LAYOUTS[of_x](x))
    inside = p.detach().storage_offset(), p.stride()
    given = [LAYOUTS[of_g](g) for g in gradients]
    found = stepped(kind([p], lr=0.01, fused=True), p, given)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert (p.storage_offset(), p.stride()) == inside
    assert p.grad is given[-1]
    assert all(torch.equal(g, kept) for g, kept in zip(given, gradients, strict=True))


@fused
def test_a_view_with_gaps_keeps_what_lies_between(kind: type[TorchCompatible]) -> None:
    whole = torch.zeros(6, 8)
    p = whole[:, ::2].requires_grad_()
    p.grad = torch.ones(6, 4)
    kind([p], lr=0.1, fused=True).step()
    assert torch.equal(whole[:, 1::2], torch.zeros(6, 4))
    assert bool((whole[:, ::2] != 0).all())


@fused
@pytest.mark.parametrize("how", ["loaded", "moved"])
def test_a_model_that_becomes_channels_last(kind: type[TorchCompatible], how: str) -> None:
    x, gradients = numbers(*SHAPE), numbers(8, *SHAPE, seed=1)
    slow = nn.Parameter(x.clone())
    expected = stepped(kind.torch_class([slow], lr=0.01, foreach=False), slow, gradients)
    first = nn.Parameter(x.clone())
    before = kind([first], lr=0.01)
    stepped(before, first, gradients[:4])
    last = lambda x: x.to(memory_format=torch.channels_last)  # noqa: E731
    if how == "loaded":
        p = nn.Parameter(last(first.detach().clone()))
        after = kind([p], lr=0.01)
        after.load_state_dict(copy.deepcopy(before.state_dict()))
    else:
        p, after = first, before
        p.data = last(p.data)
    found = stepped(after, p, [last(g) for g in gradients[4:]])
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


# ---- torch's own list of inputs


@each
@pytest.mark.parametrize("path", ["default", "foreach", "for-loop", "fused"])
def test_every_input_torch_tests_with(kind: type[TorchCompatible], path: str) -> None:
    flags = {
        "default": {},
        "foreach": {"foreach": True},
        "for-loop": {"foreach": False},
        "fused": {"fused": True},
    }[path]
    if path == "fused" and not kind.has_fused_kernel:
        pytest.skip("torch has no fused kernel for it")
    for how in options(kind):
        if path == "fused" and (
            isinstance(how.get("lr"), Tensor) or isinstance(how.get("betas", (0,))[0], Tensor)
        ):
            continue
        weights = []
        for made in (kind, kind.torch_class):
            p = nn.Parameter(numbers(3, 4))
            optimizer = made(
                [p], **copy.deepcopy(how), **(flags if made is kind else {"foreach": False})
            )
            weights.append(stepped(optimizer, p, numbers(5, 3, 4, seed=1)))
        assert torch.allclose(*weights, rtol=1e-12, atol=1e-12), how


@each
def test_every_input_torch_refuses(kind: type[TorchCompatible]) -> None:
    for case in INFOS[kind.__name__].optim_error_inputs_func("cpu", torch.float32):
        given = case.optimizer_error_input
        params = given.params
        made = (
            kind
            if case.error_on == OptimizerErrorEnum.CONSTRUCTION_ERROR
            else lambda *a, **k: kind(*a, **k).step()
        )
        with pytest.raises(case.error_type, match=case.error_regex):
            made(params, **given.kwargs)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own compiler
@each
def test_compiled(kind: type[TorchCompatible]) -> None:
    p, q = nn.Parameter(numbers(3, 4)), nn.Parameter(numbers(3, 4))
    ours, theirs = kind([p], lr=0.01), kind.torch_class([q], lr=0.01)
    steps = [torch.compile(optimizer.step, backend="eager") for optimizer in (ours, theirs)]
    for g in numbers(3, 3, 4, seed=1):
        p.grad, q.grad = g.clone(), g.clone()
        for step in steps:
            step()
    assert torch.equal(p, q)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_dialects_are_not_forgotten() -> None:
    p, q = nn.Parameter(numbers(3, 4)), nn.Parameter(numbers(3, 4))
    ours, plain = (torch_classes.AdamW([x], lr=0.01, eps=0.1, eps_at="hat") for x in (p, q))
    stepping = torch.compile(ours.step, backend="eager")
    for g in numbers(3, 3, 4, seed=1):
        p.grad, q.grad = g.clone(), g.clone()
        stepping()
        plain.step()
    assert torch.allclose(p, q, rtol=1e-12, atol=1e-12)


@fused
@pytest.mark.parametrize(
    "flags", [{"foreach": True}, {"foreach": False}, {"fused": False}], ids=str
)
def test_a_path_that_is_asked_for_is_taken(
    kind: type[TorchCompatible], flags: dict[str, bool]
) -> None:
    p = nn.Parameter(numbers(3, 4))
    optimizer = kind([p], **flags)
    p.grad = numbers(3, 4, seed=1)
    optimizer.step()
    group = optimizer.param_groups[0]
    facts = group_facts(optimizer, CheckedGroup(optimizer, group), (0, group), [p], optimizer.state)
    assert choose_path(p, facts, optimizer.state[p]) is StepPath.TORCH_LOOP
    assert group.get("fused") == flags.get("fused")


@fused
def test_a_fused_step_that_is_asked_for_takes_a_tensor_as_lr(kind: type[TorchCompatible]) -> None:
    p = nn.Parameter(numbers(3, 4))
    optimizer = kind([p], lr=torch.tensor(0.01, dtype=torch.float64), fused=True)
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]  # which torch's loops refuse
    stepped(optimizer, p, numbers(2, 3, 4, seed=1))
    assert torch.equal(p, numbers(3, 4))
    del optimizer.found_inf
    slow = nn.Parameter(numbers(3, 4))
    expected = stepped(
        kind.torch_class([slow], lr=0.01, foreach=False), slow, numbers(2, 3, 4, seed=1)
    )
    fresh = kind([p], lr=torch.tensor(0.01, dtype=torch.float64), fused=True)
    assert torch.allclose(
        stepped(fresh, p, numbers(2, 3, 4, seed=1)), expected, rtol=1e-12, atol=1e-12
    )


@fused
@pytest.mark.parametrize("where", [{"device": "meta"}, {"dtype": torch.complex64}], ids=str)
def test_a_fused_step_that_torch_has_not_is_refused(
    kind: type[TorchCompatible], where: dict[str, Any]
) -> None:
    p = nn.Parameter(torch.zeros(3, **where))
    p.grad = torch.zeros_like(p)
    with pytest.raises(
        RuntimeError, match="`fused=True` requires all the params to be floating point Tensors"
    ):
        kind([p], fused=True).step()


@pytest.mark.parametrize(
    "kind", [torch_classes.SGD, torch_classes.Adagrad], ids=lambda kind: kind.__name__
)
@pytest.mark.parametrize("path", ["auto", "compiled"])
def test_sparse_gradients_are_for_torchs_loops(kind: type[TorchCompatible], path: str) -> None:
    p, q = nn.Parameter(numbers(4)), nn.Parameter(numbers(4))
    ours, theirs = kind([p], lr=0.1, path=path), kind.torch_class([q], lr=0.1)
    dense = torch.tensor([0.0, 2.0, 0.0, -1.0], dtype=torch.float64)
    given = [dense, dense.to_sparse(), dense.to_sparse(), dense]
    with torch.sparse.check_sparse_tensor_invariants():
        assert torch.allclose(
            stepped(ours, p, given), stepped(theirs, q, given), rtol=1e-12, atol=1e-12
        )


AMP = [
    {},
    {"storage": "float32", "average": 0.5},
    {"max_norm": 1e9},
    {"nonfinite": "raise"},
    {"path": "compiled"},
]


@fused
@pytest.mark.parametrize("laid", ["contiguous", "strided"])
@pytest.mark.parametrize("how", AMP, ids=str)
def test_gradients_scaled_by_amp_are_unscaled_whoever_steps(
    kind: type[TorchCompatible], how: dict[str, Any], laid: str
) -> None:
    def trained(kind: Any, x: Tensor, **options: Any) -> Tensor:
        p = x.requires_grad_()
        optimizer, scaler = (
            kind([p], lr=0.1, fused=True, **options),
            torch.amp.GradScaler("cpu", init_scale=1024.0),
        )
        for lost in (0.0, float("inf"), 0.0):
            optimizer.zero_grad()
            scaler.scale((p - 3 + lost).square().sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        return p.detach()

    expected = trained(kind.torch_class, numbers(3, 4, dtype=torch.float32))
    found = trained(kind, LAYOUTS[laid](numbers(3, 4, dtype=torch.float32)), **how)
    assert torch.allclose(found, expected, rtol=1e-6)


def test_a_learning_rate_to_be_learnt_is_only_looked_at() -> None:
    torch.set_warn_always(True)  # else only the first such look in a process warns
    try:
        p = numbers(3).requires_grad_()
        x, lr = p.clone(), torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
        optimizer = torch_classes.SGD([x], lr=lr, differentiable=True)
        x.grad = torch.ones_like(x)
        optimizer.step()
        x.sum().backward()
    finally:
        torch.set_warn_always(False)
    assert lr.grad is not None
    assert lr.grad.item() == -3


# ---- what is looked up once


def replaced_gradients(optimizer: TorchCompatible, params: list[nn.Parameter]) -> None:
    for p in params:
        p.grad = numbers(*p.shape, seed=5)


def without_one(optimizer: TorchCompatible, params: list[nn.Parameter]) -> None:
    params[1].grad = None


def moved(optimizer: TorchCompatible, params: list[nn.Parameter]) -> None:
    params[0].data = params[0].data.to(memory_format=torch.channels_last)


def new_state(optimizer: TorchCompatible, params: list[nn.Parameter]) -> None:
    optimizer.state[params[0]]["exp_avg"] = numbers(*params[0].shape, seed=6)


def another_count(optimizer: TorchCompatible, params: list[nn.Parameter]) -> None:
    optimizer.state[params[0]]["step"] = torch.tensor(40.0)


def cleared(optimizer: TorchCompatible, params: list[nn.Parameter]) -> None:
    optimizer.state.clear()


def reloaded(optimizer: TorchCompatible, params: list[nn.Parameter]) -> None:
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def other_options(optimizer: TorchCompatible, params: list[nn.Parameter]) -> None:
    optimizer.param_groups[0].update(
        lr=0.3, betas=(0.5, 0.6), weight_decay=0.4, maximize=True, eps=0.1
    )


def transposed_gradient(optimizer: TorchCompatible, params: list[nn.Parameter]) -> None:
    params[0].grad = LAYOUTS["transposed"](numbers(*SHAPE, seed=7))


CHANGES = [
    replaced_gradients, without_one, moved, new_state, another_count, cleared, reloaded, other_options,
    transposed_gradient,
]  # fmt: skip


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize(
    "kind", [torch_classes.Adam, torch_classes.AdamW], ids=lambda kind: kind.__name__
)
def test_whatever_changes_between_steps_is_seen(
    kind: type[TorchCompatible], change, amsgrad: bool
) -> None:
    found = []
    for made in (kind, kind.torch_class):
        params = [nn.Parameter(numbers(*SHAPE)), nn.Parameter(numbers(7, seed=1))]
        optimizer = made(params, lr=0.01, amsgrad=amsgrad)
        for step in range(6):
            for i, p in enumerate(params):
                p.grad = numbers(*p.shape, seed=10 * step + i)
            if step == 3:
                change(optimizer, params)
            optimizer.step()
        found.append((params, [held["step"].item() for held in optimizer.state.values()]))
    (ours, counts), (theirs, expected) = found
    assert counts == expected
    for p, q in zip(ours, theirs, strict=True):
        assert torch.allclose(p, q, rtol=1e-12, atol=1e-12)


def test_the_lists_are_used() -> None:
    p = nn.Parameter(numbers(3))
    optimizer = torch_classes.AdamW([p])
    for seed in range(3):
        p.grad = numbers(3, seed=seed)
        optimizer.step()
    lists = optimizer._fused_lists[0]
    assert lists is not None
    optimizer.step()
    assert optimizer._fused_lists[0] is lists
    assert lists.steps.tolist() == [4.0]


# ---- state


@each
def test_checkpoints_go_both_ways(kind: type[TorchCompatible]) -> None:
    for how in options(kind):
        for first, second in ((kind, kind.torch_class), (kind.torch_class, kind)):
            p, q = nn.Parameter(numbers(3, 4)), nn.Parameter(numbers(3, 4))
            one, alone = first([p], **how), kind.torch_class([q], **how)
            stepped(one, p, numbers(4, 3, 4, seed=1))
            stepped(alone, q, numbers(7, 3, 4, seed=1))
            file = io.BytesIO()
            torch.save(one.state_dict(), file)
            file.seek(0)
            two = second([p], **how)
            two.load_state_dict(torch.load(file, weights_only=True))
            stepped(two, p, numbers(7, 3, 4, seed=1)[4:])
            # torch keeps NAdam's product of momenta in float32, and makes it float64 when it loads
            # it
            assert torch.allclose(
                p, q, rtol=1e-8 if kind is torch_classes.NAdam else 1e-12, atol=1e-12
            ), how


@each
def test_a_state_dict_gives_back_the_groups_it_was_made_of(kind: type[TorchCompatible]) -> None:
    p = nn.Parameter(numbers(3, 4))
    first, second = kind([p], lr=0.02), kind([p])
    before = set(second.param_groups[0])
    second.load_state_dict(first.state_dict())
    assert second.state_dict()["param_groups"] == first.state_dict()["param_groups"]
    assert set(second.param_groups[0]) == before


def test_no_state_where_torch_has_none() -> None:
    p = nn.Parameter(numbers(3))
    optimizer = torch_classes.SGD([p], lr=0.1)
    stepped(optimizer, p, numbers(2, 3, seed=1))
    assert not optimizer.state


@each
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["deepcopy", "pickle"]
)
def test_copies_keep_their_settings(kind: type[TorchCompatible], copied) -> None:
    p = nn.Parameter(numbers(3, 4))
    optimizer = kind([p], lr=0.07, nonfinite="skip")
    stepped(optimizer, p, numbers(2, 3, 4, seed=1))
    other = copied(optimizer)
    (q,) = other.param_groups[0]["params"]
    assert other.nonfinite == "skip"
    g = numbers(1, 3, 4, seed=2)
    assert torch.equal(stepped(other, q, g), stepped(optimizer, p, g))


@each
def test_wide_moments_of_a_narrow_parameter_stay_wide(kind: type[TorchCompatible]) -> None:
    wide = nn.Parameter(numbers(3, 4, dtype=torch.float32))
    first = kind([wide], lr=0.01)
    stepped(first, wide, numbers(3, 3, 4, seed=1).float())
    p = nn.Parameter(wide.detach().bfloat16())
    optimizer = kind([p], lr=0.01)
    optimizer.load_state_dict(first.state_dict())
    held = [v for k, v in optimizer.state[p].items() if isinstance(v, Tensor) and v.dim()]
    assert all(v.dtype == torch.float32 for v in held)
    before = p.detach().clone()
    stepped(optimizer, p, numbers(1, 3, 4, seed=2).bfloat16())
    assert all(v.dtype == torch.float32 for v in held)
    assert p.dtype == torch.bfloat16
    assert not torch.equal(p, before)


# ---- gradients


@each
def test_a_gradient_that_comes_late_gets_a_first_step(kind: type[TorchCompatible]) -> None:
    late, fresh = nn.Parameter(numbers(3)), nn.Parameter(numbers(3))
    other = nn.Parameter(numbers(2))
    optimizer = kind([other, late], lr=0.01)
    stepped(optimizer, other, numbers(5, 2, seed=1))
    late.grad = fresh.grad = numbers(3, seed=2)
    optimizer.step()
    kind([fresh], lr=0.01).step()
    assert torch.equal(late, fresh)


@each
def test_complex_numbers_are_pairs(kind: type[TorchCompatible]) -> None:
    if not INFOS[kind.__name__].supports_complex:
        pytest.skip("torch refuses complex parameters here")
    p = nn.Parameter(numbers(3, dtype=torch.complex128))
    q = nn.Parameter(torch.view_as_real(p.detach()).clone())
    gradients = numbers(4, 3, seed=1, dtype=torch.complex128)
    stepped(kind([p], lr=0.01), p, gradients)
    stepped(kind([q], lr=0.01), q, torch.view_as_real(gradients))
    assert torch.allclose(torch.view_as_real(p), q, rtol=1e-12, atol=1e-12)


@each
def test_gradients_that_are_not_finite(kind: type[TorchCompatible]) -> None:
    def ready(nonfinite: str) -> tuple[TorchCompatible, Tensor, Tensor]:
        p, q = nn.Parameter(numbers(3)), nn.Parameter(numbers(3))
        p.grad, q.grad = (
            torch.tensor([1.0, float("nan"), 1.0], dtype=torch.float64),
            numbers(3, seed=1),
        )
        return kind([("bad", p), ("good", q)], lr=0.01, nonfinite=nonfinite), p, q

    optimizer, p, q = ready("raise")
    with pytest.raises(
        BadInput, match=r"A gradient is not finite: got '1 of 3 numbers'; .* \(bad, shape \(3,\)"
    ):
        optimizer.step()
    assert torch.equal(p, numbers(3))
    assert torch.equal(q, numbers(3))
    optimizer, p, q = ready("skip")
    optimizer.step()
    assert torch.equal(p, numbers(3))
    assert not torch.equal(q, numbers(3))
    assert p.grad is not None


def test_an_eps_that_is_zero_in_float16_is_refused() -> None:
    p = nn.Parameter(torch.zeros(3, dtype=torch.float16))
    p.grad = torch.zeros_like(p)
    with pytest.raises(
        BadInput, match=r"eps is zero in the type of the optimizer's state: got 1e-08"
    ):
        torch_classes.AdamW([p]).step()
    torch_classes.AdamW([p], eps=1e-6).step()
    assert torch.equal(p, torch.zeros_like(p))


# ---- variants


@pytest.mark.parametrize(
    "how", [{"eps_at": "hat"}, {"debias": "second"}, {"clip": 0.5}, {"cautious": "mean"}]
)
def test_a_dialect_is_stepped_by_the_rule_and_can_go_back(how: dict[str, Any]) -> None:
    x, gradients = numbers(4), numbers(5, 4, seed=1)
    p = nn.Parameter(x.clone())
    optimizer = torch_classes.AdamW([p], lr=0.1, eps=0.01, **how)
    stepped(optimizer, p, gradients)
    rule = torch_classes.AdamW.rule(eps=0.01, **how)
    s = rule.init(x)
    for g in gradients:
        x, s = rule.step(x, g, s, 0.1)
    assert torch.allclose(p, x, rtol=1e-12, atol=1e-12)
    plain = torch.optim.AdamW([p], lr=0.1)
    plain.load_state_dict(optimizer.state_dict())
    stepped(plain, p, gradients[:1])
    assert bool(torch.isfinite(p).all())


def test_an_unknown_option_is_rejected() -> None:
    with pytest.raises(
        BadInput,
        match=r"Unknown argument 'beta'. Did you mean 'betas'\? Choose one of: lr, betas, eps, .* \(AdamW",
    ):
        torch_classes.AdamW([nn.Parameter(torch.zeros(1))], beta=0.9)
    with pytest.raises(BadInput, match=r"Unknown eps_at 'inside'. Choose one of: after, hat, root"):
        torch_classes.AdamW([nn.Parameter(torch.zeros(1))], eps_at="inside")


# ---- from torch


@each
def test_a_live_optimizer_goes_on_as_ours(kind: type[TorchCompatible]) -> None:
    p, q = nn.Parameter(numbers(3, 4)), nn.Parameter(numbers(3, 4))
    theirs, alone = kind.torch_class([p], lr=0.01), kind.torch_class([q], lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(theirs, step_size=1, gamma=0.5)
    stepped(theirs, p, numbers(2, 3, 4, seed=1))
    scheduler.step()
    ours = from_torch(theirs)
    assert type(ours) is kind
    stepped(ours, p, numbers(4, 3, 4, seed=1)[2:])
    stepped(alone, q, numbers(2, 3, 4, seed=1))
    alone.param_groups[0]["lr"] = 0.005
    stepped(alone, q, numbers(4, 3, 4, seed=1)[2:])
    assert torch.allclose(p, q, rtol=1e-12, atol=1e-12)


def test_only_torchs_own_can_be_converted() -> None:
    with pytest.raises(
        BadInput,
        match=r"Cannot convert this optimizer: betaplane has no equivalent class: got 'Rprop'; "
        r"expected torch\.optim\.SGD, ",
    ):
        from_torch(torch.optim.Rprop([nn.Parameter(torch.zeros(1))]))
