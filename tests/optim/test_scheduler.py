"""Schedules of betas, eps and weight decay against loops that set them by hand."""

from __future__ import annotations

import copy
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, StepLR

import betaplane.optim
from betaplane.errors import BadInput
from betaplane.optim import Schedule
from betaplane.optim import schedule_functions as schedule_fns
from betaplane.rules import ALL

CLASSES = [getattr(betaplane.optim, rule.__name__) for rule in ALL]
WITH_BETAS = [kind for kind in CLASSES if "betas" in kind([nn.Parameter(torch.zeros(1))]).defaults]
GOLDEN = Path(__file__).parents[1] / "data/golden"
FUNCTIONS = {
    "beta1": schedule_fns.linear(0.5, 0.9, 4),
    "beta2": schedule_fns.horizon(0.6, 0.99, 4),
    "eps": lambda t: 1e-3 / t,
}


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def stepped(optimizer: torch.optim.Optimizer, p: Tensor, seed: int) -> None:
    p.grad = numbers(*p.shape, seed=seed).to(p.dtype)
    optimizer.step()


def disk(state_dict: dict) -> dict:
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def by_hand(optimizer: torch.optim.Optimizer, p: Tensor, steps: range) -> None:
    (group,) = optimizer.param_groups
    for t in steps:
        _, _, *others = group["betas"]
        group["betas"] = (FUNCTIONS["beta1"](t), FUNCTIONS["beta2"](t), *others)
        if "eps" in group:
            group["eps"] = FUNCTIONS["eps"](t)
        stepped(optimizer, p, t)


def functions(optimizer: torch.optim.Optimizer) -> dict:
    return {
        name: f for name, f in FUNCTIONS.items() if name != "eps" or "eps" in optimizer.defaults
    }


# ---- the same as by hand


@pytest.mark.parametrize(
    "kind", [*WITH_BETAS, torch.optim.AdamW, torch.optim.RAdam], ids=lambda kind: kind.__name__
)
def test_as_by_hand_and_resumed_in_the_middle(kind) -> None:
    expected, p, later = (nn.Parameter(numbers(4)) for _ in range(3))
    by_hand(kind([expected], lr=0.1), expected, range(1, 8))
    optimizer = kind([p], lr=0.1)
    schedule = Schedule(optimizer, **functions(optimizer))
    for t in range(1, 4):
        stepped(optimizer, p, t)
        schedule.step()
    later.data.copy_(p.data)
    resumed = kind([later], lr=0.1)
    again = Schedule(resumed, **functions(resumed))
    saved = disk({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()})
    again.load_state_dict(saved["schedule"])
    resumed.load_state_dict(saved["optimizer"])
    for t in range(4, 8):
        stepped(optimizer, p, t)
        schedule.step()
        stepped(resumed, later, t)
        again.step()
    assert torch.equal(p, expected)
    assert torch.equal(later, expected)
    assert again.t == 8


def test_the_fast_path_heeds_it_at_once() -> None:
    """Ours keeps the lists of torch's fused kernel from step to step; betas are not among them."""
    p, q = nn.Parameter(numbers(5)), nn.Parameter(numbers(5))
    ours, theirs = betaplane.AdamW([p], lr=0.1), torch.optim.AdamW([q], lr=0.1, foreach=False)
    schedule = Schedule(ours, **FUNCTIONS, weight_decay=lambda t: 0.1 * t)
    for t in range(1, 8):
        theirs.param_groups[0]["weight_decay"] = 0.1 * t
        by_hand(theirs, q, range(t, t + 1))
        stepped(ours, p, t)
        lists = ours._fused_lists[0] if t == 2 else ours._fused_lists.get(0)
        schedule.step()
        assert torch.allclose(p, q, rtol=1e-12, atol=1e-12)
    assert lists is not None
    assert lists is ours._fused_lists[0]


def test_beside_a_scheduler_of_lr() -> None:
    p, q = nn.Parameter(numbers(4)), nn.Parameter(numbers(4))
    ours, theirs = betaplane.Lion([p], lr=0.1), betaplane.Lion([q], lr=0.1)
    schedule, rates = Schedule(ours, beta2=FUNCTIONS["beta2"]), StepLR(ours, step_size=2, gamma=0.5)
    for t in range(1, 7):
        theirs.param_groups[0].update(
            lr=0.1 * 0.5 ** ((t - 1) // 2), betas=(0.9, FUNCTIONS["beta2"](t))
        )
        stepped(theirs, q, t)
        stepped(ours, p, t)
        rates.step()
        schedule.step()
    assert torch.equal(p, q)


def test_groups_have_their_own() -> None:
    p, q, r = (nn.Parameter(numbers(2)) for _ in range(3))
    optimizer = betaplane.AdamW([{"params": [p], "weight_decay": 0.3}, {"params": [q]}])
    schedule = Schedule(
        optimizer, weight_decay=[None, lambda t: 0.1 * t], beta1=lambda t: 0.9 - 0.1 * t
    )
    optimizer.add_param_group({"params": [r], "weight_decay": 0.7})
    schedule.step()
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.2, 0.7]
    assert [group["betas"] for group in optimizer.param_groups] == [(0.7, 0.999)] * 3
    assert schedule.get_last_value("weight_decay") == [None, 0.2, None]
    assert schedule.get_last_value("beta1") == [0.7] * 3


def test_adafactors_own_numbers() -> None:
    p = nn.Parameter(numbers(3, 3))
    optimizer = betaplane.Adafactor([p], eps=(1e-30, 1e-3))
    Schedule(optimizer, eps2=lambda t: 0.5, beta2_decay=lambda t: -0.5)
    group = optimizer.param_groups[0]
    assert (group["eps"], group["beta2_decay"]) == ((1e-30, 0.5), -0.5)
    assert optimizer.rule_of(group).power == 0.5


def test_numbers_of_any_kind_are_stored_as_floats() -> None:
    """A numpy number in a group could not be read back with weights_only."""
    optimizer = betaplane.AdamW([nn.Parameter(numbers(2))])
    Schedule(
        optimizer,
        beta2=lambda t: math.e / 3 * torch.ones(1, dtype=torch.float64),
        eps=schedule_fns.linear(0, 1, 10),
    )
    assert [
        type(v) for v in (*optimizer.param_groups[0]["betas"], optimizer.param_groups[0]["eps"])
    ] == [float] * 3
    assert disk(optimizer.state_dict())["param_groups"][0]["betas"] == (0.9, math.e / 3)


# ---- tensors


@pytest.mark.parametrize(
    "kind", [torch.optim.AdamW, betaplane.AdamW, betaplane.LaProp], ids=lambda k: k.__module__
)
def test_tensors_are_written_in_place(kind) -> None:
    def tensors() -> tuple[Tensor, Tensor]:
        return torch.tensor(0.9, dtype=torch.float64), torch.tensor(0.999, dtype=torch.float64)

    p, expected = nn.Parameter(numbers(4)), nn.Parameter(numbers(4))
    optimizer = kind([p], lr=torch.tensor(0.1, dtype=torch.float64), betas=tensors())
    schedule = Schedule(optimizer, **FUNCTIONS, lr=lambda t: 0.1 / t)
    held = (*optimizer.param_groups[0]["betas"], optimizer.param_groups[0]["lr"])
    slow = kind([expected], lr=0.1)
    for t in range(1, 6):
        slow.param_groups[0]["lr"] = 0.1 / t
        by_hand(slow, expected, range(t, t + 1))
        stepped(optimizer, p, t)
        schedule.step()
    assert torch.allclose(p, expected, rtol=1e-12, atol=1e-12)
    now = (*optimizer.param_groups[0]["betas"], optimizer.param_groups[0]["lr"])
    assert all(one is other for one, other in zip(held, now, strict=True))
    assert optimizer.defaults["lr"].item() == 0.1


def test_groups_that_share_a_tensor_no_longer_do() -> None:
    p, q = nn.Parameter(numbers(2)), nn.Parameter(numbers(2))
    optimizer = torch.optim.AdamW([{"params": [p]}, {"params": [q]}], lr=torch.tensor(0.1))
    schedule = Schedule(optimizer, lr=[lambda t: 0.5 * t, lambda t: 0.25 * t])
    schedule.step()
    assert [group["lr"].item() for group in optimizer.param_groups] == [1.0, 0.5]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own compiler
def test_a_compiled_step_sees_tensors_change() -> None:
    p, expected = nn.Parameter(numbers(4)), nn.Parameter(numbers(4))
    betas = torch.tensor(0.9, dtype=torch.float64), torch.tensor(0.999, dtype=torch.float64)
    optimizer = torch.optim.AdamW([p], lr=0.1, betas=betas, foreach=False)
    schedule = Schedule(optimizer, beta1=FUNCTIONS["beta1"], beta2=FUNCTIONS["beta2"])
    step = torch.compile(optimizer.step, backend="eager")
    slow = torch.optim.AdamW([expected], lr=0.1)
    for t in range(1, 6):
        slow.param_groups[0]["betas"] = (FUNCTIONS["beta1"](t), FUNCTIONS["beta2"](t))
        stepped(slow, expected, t)
        p.grad = numbers(4, seed=t)
        step()
        schedule.step()
    assert torch.allclose(p, expected, rtol=1e-12, atol=1e-12)
    torch._dynamo.reset()  # what it compiled counts against the next test's limit


# ---- functions


@pytest.mark.parametrize(
    ("ramp", "theirs"),
    [
        (
            schedule_fns.linear(0.5, 0.1, 6),
            lambda o: LinearLR(o, start_factor=1.0, end_factor=0.2, total_iters=6),
        ),
        (schedule_fns.cosine(0.5, 0.1, 6), lambda o: CosineAnnealingLR(o, T_max=6, eta_min=0.1)),
    ],
    ids=["linear", "cosine"],
)
def test_ramps_are_torchs(ramp, theirs) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = theirs(optimizer)
    for t in range(1, 8):
        assert ramp(t) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        scheduler.step()
    assert ramp(8) == ramp(1000) == pytest.approx(0.1, rel=1e-15)


def test_the_power_is_adafactors() -> None:
    for row in json.loads((GOLDEN / "bias_correction_as_schedule.json").read_text())[
        "adafactor_beta2"
    ]:
        assert schedule_fns.power()(row["t"]) == pytest.approx(row["beta2_t"], rel=1e-12)


def test_ademamix_scheduled_from_outside_takes_the_golden_steps() -> None:
    golden = json.loads((GOLDEN / "ademamix_scheduled.json").read_text())
    h = golden["hyperparameters"]
    p = nn.Parameter(torch.tensor(golden["params0"], dtype=torch.float64))
    betas = (h["beta1"], h["beta2"], h["beta3"])
    optimizer = betaplane.AdEMAMix(
        [p], lr=h["lr"], betas=betas, eps=h["eps"], weight_decay=h["weight_decay"]
    )
    beta3 = schedule_fns.ademamix_beta3(h["beta1"], h["beta3"], h["warmup"])
    schedule = Schedule(
        optimizer, alpha=schedule_fns.ademamix_alpha(h["alpha"], h["warmup"]), beta3=beta3
    )
    for step in golden["steps"]:
        assert schedule.get_last_value("beta3") == [pytest.approx(step["beta3_t"], rel=1e-14)]
        assert schedule.get_last_value("alpha") == [step["alpha_t"]]
        p.grad = torch.tensor(step["grad"], dtype=torch.float64)
        optimizer.step()
        schedule.step()
        assert p.tolist() == pytest.approx(step["params"], rel=1e-13)


def test_per_batch_is_the_published_example() -> None:
    """Marek et al. 2025: 0.95 at batch size 512 is 0.9999 at 1; in tokens the half-life stays."""
    beta = schedule_fns.per_batch(0.95, lambda t: (512, 1)[t - 1], base=512)
    assert beta(1) == 0.95
    assert round(beta(2), 4) == 0.9999
    assert math.log(0.5) / math.log(beta(2)) == pytest.approx(512 * math.log(0.5) / math.log(0.95))


def update(debias: str, beta2, steps: int) -> list[float]:
    """The size of every update, over lr, where the gradient is always 1: 1 where debiasing is
    right.
    """
    p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = betaplane.AdamW(
        [p], lr=1.0, betas=(0.0, 0.5), eps=0.0, weight_decay=0.0, debias=debias
    )
    schedule, found = Schedule(optimizer, beta2=beta2), []
    for _ in range(steps):
        before = p.item()
        p.grad = torch.ones(1, dtype=torch.float64)
        optimizer.step()
        schedule.step()
        found.append(before - p.item())
    return found


def test_debiasing_under_a_schedule() -> None:
    """As the docstring has it."""
    assert min(update("both", schedule_fns.horizon(0.95, 0.999, 1000), 1010)) == pytest.approx(
        0.795, abs=1e-3
    )
    assert max(update("both", schedule_fns.horizon(0.999, 0.95, 1000), 400)) == pytest.approx(
        1.195, abs=1e-3
    )
    for beta2 in (
        schedule_fns.horizon(0.95, 0.999, 100),
        schedule_fns.horizon(0.999, 0.95, 100),
        schedule_fns.power(),
    ):
        assert update("schedule", beta2, 120) == pytest.approx([1.0] * 120, rel=1e-9)


# ---- bad input


def adamw(**options) -> torch.optim.Optimizer:
    p, q = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    return torch.optim.AdamW([{"params": [p]}, {"params": [q]}], **options)


def late() -> None:
    Schedule(adamw(), beta2=lambda t: 0.5 * t).step()


BAD = [
    (
        late,
        "beta2 is out of range: got 1.0; expected [0, 1) (group 0 at step 2). Try: beta2=lambda t: 0.999",
    ),
    (
        lambda: Schedule(adamw(), eps=[None, lambda t: -1.0]),
        "eps is out of range: got -1.0; expected [0, inf) (group 1",
    ),
    (
        lambda: Schedule(adamw(), weight_decay=lambda t: math.nan),
        "weight_decay is out of range: got nan",
    ),
    (
        lambda: Schedule(adamw(), beta1=lambda t: None),
        "beta1 is not a number: got None; expected a number in [0, 1)",
    ),
    (
        lambda: Schedule(adamw(lr=torch.tensor(0.1)), lr=lambda t: 1e39),
        "lr is out of range: got inf",
    ),
    (
        lambda: Schedule(adamw(), beta3=lambda t: 0.9),
        "Unknown hyperparameter 'beta3'. Did you mean 'beta2'? Choose one of: lr, beta1",
    ),
    (
        lambda: Schedule(adamw(), amsgrad=lambda t: 1),
        "Unknown hyperparameter 'amsgrad'. Choose one of: ",
    ),
    (
        lambda: Schedule(adamw(), beta2=0.95),
        "beta2 is not a function: got 0.95; expected a function of t, or one for each",
    ),
    (
        lambda: Schedule(adamw(), beta2=[None]),
        "beta2 does not fit the groups: got 1; expected 2, one for each group",
    ),
    (
        lambda: Schedule(adamw()),
        "There is nothing to schedule (Schedule). Try: beta2=lambda t: 1 - t**-0.8",
    ),
    (
        lambda: Schedule([nn.Parameter(torch.zeros(2))], eps=lambda t: 0.1),
        "This is no optimizer: got 'list'",
    ),
    (
        lambda: Schedule(adamw(), eps=lambda t: 0.1).get_last_value("lr"),
        "This is not scheduled: got 'lr'; expected eps",
    ),
    (
        lambda: Schedule(adamw(), eps=lambda t: 0.1).load_state_dict({"last_epoch": 3}),
        "The state dict is not a Schedule's",
    ),
    (
        lambda: Schedule(
            betaplane.SGD([nn.Parameter(torch.zeros(2))], momentum=0.9), momentum=lambda t: -0.1
        ),
        "momentum is out of range: got -0.1; expected [0, ",
    ),
    (
        lambda: schedule_fns.linear(0, 1, 0),
        "steps is out of range: got 0; expected (0, inf) (linear",
    ),
    (
        lambda: schedule_fns.horizon(0.9, 1.0, 5),
        "end is out of range: got 1.0; expected [0, 1) (horizon",
    ),
    (
        lambda: schedule_fns.power(-0.8),
        "exponent is out of range: got -0.8; expected (0, inf) (power",
    ),
    (
        lambda: schedule_fns.ademamix_beta3(0.9, 1.0, 5),
        "beta3 is out of range: got 1.0; expected [0, 1) (ademamix_beta3",
    ),
    (
        lambda: schedule_fns.per_batch(0.9, lambda t: 1, 0),
        "base is out of range: got 0; expected (0, inf) (per_batch",
    ),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    with pytest.raises(BadInput) as error:
        call()
    assert text in str(error.value)


def test_a_beta_that_rounds_to_one_is_refused() -> None:
    betas = torch.tensor(0.9), torch.tensor(0.999)
    with pytest.raises(
        BadInput, match=r"beta2 is out of range: got 1\.0; expected \[0, 1\) \(group 0 at step 1"
    ):
        Schedule(adamw(betas=betas, foreach=False), beta2=lambda t: 1 - 1e-8)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, betaplane.AdamW], ids=["theirs", "ours"])
def test_nothing_is_written_where_one_value_is_bad(kind) -> None:
    p, q = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    optimizer = kind([{"params": [p]}, {"params": [q]}])
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(BadInput, match="group 1 at step 1"):
        Schedule(optimizer, eps=lambda t: 0.5, beta2=[lambda t: 0.5, lambda t: 1.5])
    assert optimizer.state_dict() == before
    schedule = Schedule(optimizer, eps=lambda t: 0.5, beta2=[lambda t: 0.5, lambda t: 0.5 * t])
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(BadInput, match="group 1 at step 2"):
        schedule.step()
    assert optimizer.state_dict() == before
    assert (schedule.t, schedule.get_last_value("beta2")) == (1, [0.5, 0.5])


@pytest.mark.parametrize("path", ["eager", "compiled"])
@pytest.mark.parametrize("kind", [betaplane.optim.RMSprop, betaplane.optim.SGD])
def test_a_momentum_that_is_switched_on_and_off_has_its_buffer_while_it_is_on(
    kind: Any, path: str
) -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.zeros(70, 3, dtype=torch.float64)) for _ in range(2))
    a, b = (
        kind([ours], lr=0.01, path=path, average=0.9),
        kind.torch_class([theirs], lr=0.01, momentum=0.5),
    )
    for momentum in (0, 0, 0.9, 0.9, 0, 0.9):
        a.param_groups[0]["momentum"] = b.param_groups[0]["momentum"] = momentum
        ours.grad = torch.randn_like(ours)
        theirs.grad = ours.grad.clone()
        if momentum == 0:
            b.state[theirs].pop("momentum_buffer", None)
        elif kind is betaplane.optim.RMSprop:
            b.state[theirs].setdefault("momentum_buffer", torch.zeros_like(theirs))
        a.step()
        b.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
        assert a.state[ours]["momentum_buffer"].dim() == (2 if momentum else 0)


@pytest.mark.parametrize(
    "given", [None, [1], "t", {}, {"t": "3"}, {"t": 0}, {"t": True}, {"t": 3.0}]
)
def test_what_is_no_state_dict_of_a_schedule_is_refused(given: Any) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    schedule = Schedule(optimizer, eps=lambda t: 1e-3 / t)
    with pytest.raises(BadInput, match="The state dict is not a Schedule's"):
        schedule.load_state_dict(given)
    assert (schedule.t, optimizer.param_groups[0]["eps"]) == (1, 1e-3)


def test_values_and_names_of_the_wrong_type_are_refused() -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    with pytest.raises(BadInput, match="eps is not a number"):
        Schedule(optimizer, eps=lambda t: torch.ones(2))
    with pytest.raises(BadInput, match="This is not scheduled"):
        Schedule(optimizer, eps=lambda t: 1e-3).get_last_value(["eps"])  # type: ignore[arg-type]
