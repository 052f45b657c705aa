"""Recording: what the optimizer saw, row by row, and nothing else touched."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import betaplane
from betaplane.replay import (
    load,
    predicted,
    record_gradients,
    record_pass,
    record_problem,
    replay_gradients,
    save,
    with_batch_size,
)
from betaplane.replay.sample import shares


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 3))


def backward(net: nn.Module, seed: int, examples: int = 8) -> None:
    x = torch.randn(examples, 6, generator=torch.Generator().manual_seed(seed))
    net(x).square().mean().backward()


def flat(net: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.reshape(-1) for p in net.parameters()])


@pytest.mark.parametrize(
    "kind", [torch.optim.Adam, betaplane.AdamW, betaplane.Lion, torch.optim.SGD]
)
def test_rows_are_the_gradients_of_the_steps(kind):
    net, seen = model(), []
    optimizer = kind(net.parameters(), lr=0.01)
    record = record_gradients(net, steps=4)
    for step in range(6):
        optimizer.zero_grad()
        backward(net, 2 * step)
        backward(net, 2 * step + 1)  # accumulated
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        seen.append(flat(net))
        optimizer.step()
    stream = record.stream()
    torch.testing.assert_close(stream.values, torch.stack(seen[:4]), rtol=0, atol=0)
    assert not stream.frozen
    assert [layer.name for layer in stream.layers] == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_a_sample_says_where_it_is_from():
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    with record_gradients(net, coordinates=60, steps=2) as record:
        for step in range(2):
            optimizer.zero_grad()
            backward(net, step)
            optimizer.step()
    stream = record.stream()
    assert sum(layer.sampled for layer in stream.layers) == stream.coordinates == 60
    assert [layer.sampled >= min(15, layer.size) for layer in stream.layers] == [True] * 4
    start, found = 0, []
    for layer, p in zip(stream.layers, net.parameters(), strict=True):
        found.append(p.grad.reshape(-1)[stream.index[start : start + layer.sampled]])
        start += layer.sampled
    torch.testing.assert_close(stream.values[-1], torch.cat(found), rtol=0, atol=0)


def test_every_tensor_is_represented():
    sizes = [1, 3, 1000, 50_000, 16]
    assert all(1 <= share <= size for share, size in zip(shares(sizes, 100), sizes, strict=True))
    for coordinates in (5, 6, 17, 100, 1000, 51_020, 10**6):
        assert sum(shares(sizes, coordinates)) == min(coordinates, sum(sizes))


def test_one_row_a_step_where_two_optimizers_share_a_model():
    net = model()
    first, second = torch.optim.SGD(net[0].parameters()), torch.optim.Adam(net[2].parameters())
    other = torch.optim.SGD(model().parameters())
    record = record_gradients(net, steps=10)
    for step in range(3):
        net.zero_grad()
        backward(net, step)
        for optimizer in (other, first, second):
            optimizer.step()
    record.close()
    first.step()
    assert record.stream().steps == 3


def test_taken_by_hand_with_weights_that_stand_still():
    net = model()
    with record_gradients(net, steps=5) as record:
        for step in range(3):
            net.zero_grad()
            backward(net, step)
            record.take()
    assert (record.stream().steps, record.stream().frozen) == (3, True)


def test_a_step_whose_scale_overflowed_is_left_out():
    net = model()
    with record_gradients(net, steps=5) as record:
        for step in range(3):
            net.zero_grad()
            backward(net, step)
            if step == 1:
                net[0].bias.grad[0] = torch.inf
            record.take()
    stream = record.stream()
    assert (stream.steps, stream.about) == (2, {"rows left out": "1"})


def test_no_gradient_is_zero_and_a_sparse_one_is_read():
    net = nn.ModuleDict({"embed": nn.Embedding(5, 2, sparse=True), "unused": nn.Linear(2, 2)})
    with record_gradients(net, steps=2) as record:
        for _ in range(2):
            net.zero_grad()
            net["embed"](torch.tensor([3])).sum().backward()
            record.take()
    assert record.stream().values[0].tolist() == [0.0] * 6 + [1.0, 1.0] + [0.0] * 8


def test_a_pass_leaves_everything_as_it_was():
    net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    data = torch.randn(7, 8, 6, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(3)
    state = torch.get_rng_state()
    stream = record_pass(net, lambda net, x: net(x).square().mean(), data, steps=5, batch_size=8)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert (stream.steps, stream.frozen, stream.batch_size) == (5, True, 8)
    assert not torch.equal(stream.values[0], stream.values[1])


def test_a_whole_epoch_has_the_full_gradient_as_its_mean():
    problem = betaplane.load("digits:hidden=4,batch_size=3").with_(order="cyclic")  # 3 divides 1797
    stream = record_problem(problem, steps=700, after=3)
    full = record_problem(problem.with_(batch_size=1797), steps=2, after=0, batch_size=1797)
    assert stream.steps == 599
    again = record_problem(problem, steps=2, after=3, batch_size=1797)
    torch.testing.assert_close(stream.mean, again.mean, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(full.mean, again.mean, rtol=1e-3)


def test_a_live_recording_trains_on():
    live, frozen = (
        record_problem(betaplane.load("digits:hidden=4"), steps=56, live=live)
        for live in (True, False)
    )
    assert (live.frozen, frozen.frozen) == (False, True)
    torch.testing.assert_close(live.values[0], frozen.values[0])
    assert not torch.allclose(live.values[-1], frozen.values[-1])


def test_it_ends_beside_another_recorder():
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    with record_gradients(net, steps=2) as short, record_gradients(net, steps=4) as long:
        for step in range(5):
            optimizer.zero_grad()
            backward(net, step)
            optimizer.step()
    assert (short.stream().steps, long.stream().steps) == (2, 4)


@pytest.fixture
def mesh(tmp_path):
    """A mesh of this process alone."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield torch.distributed.init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


def test_sharded_parameters_are_recorded_part_by_part(mesh):
    plain, sharded = model(), torch.distributed.fsdp.fully_shard(model(), mesh=mesh)
    records = [record_gradients(net, coordinates=60, steps=3) for net in (plain, sharded)]
    for net in (plain, sharded):
        optimizer = betaplane.AdamW(net.parameters(), lr=0.01)
        for step in range(3):
            optimizer.zero_grad()
            backward(net, step)
            optimizer.step()
    whole, parts = (record.stream() for record in records)
    torch.testing.assert_close(parts.values, whole.values)
    assert torch.equal(parts.index, whole.index)
    assert (parts.frozen, parts.layers, parts.about) == (
        False,
        whole.layers,
        {"sharded": "the shards of rank 0"},
    )
    with pytest.raises(betaplane.BadInput, match=r"are sharded: got '0\.weight'"):
        record_pass(sharded, lambda net, x: net(x).square().mean(), torch.randn(2, 8, 6))


def loss(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return net(x).square().mean()


DATA = torch.randn(4, 8, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", [torch.optim.AdamW, betaplane.AdamW])
@pytest.mark.parametrize("fused", [False, True])
def test_rows_hold_what_is_left_once_the_scale_is_divided_out(kind, fused: bool):
    net, seen = model(), []
    optimizer = kind(net.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    with record_gradients(net, steps=3) as record:
        for step in range(4):
            optimizer.zero_grad()
            x = DATA[0] * (torch.inf if step == 1 else 1.0 + step)
            if step != 1:
                seen.append(
                    torch.cat(
                        [
                            g.reshape(-1)
                            for g in torch.autograd.grad(loss(net, x), [*net.parameters()])
                        ]
                    )
                )
            scaler.scale(loss(net, x)).backward()
            scaler.step(optimizer)
            scaler.update()
    torch.testing.assert_close(record.stream().values, torch.stack(seen), rtol=1e-5, atol=1e-8)


def test_rows_are_clipped_where_the_step_clips():
    net, seen = model(), []
    optimizer = betaplane.AdamW(net.parameters(), max_norm=1e-3)
    record = record_gradients(net, steps=3)
    for step in range(5):
        optimizer.zero_grad()
        backward(net, step)
        seen.append(flat(net) * 1e-3 / (flat(net).norm() + 1e-6))
        optimizer.step()
    torch.testing.assert_close(record.stream().values, torch.stack(seen[:3]))


class Buffered(nn.Module):
    """Buffers as they come: made in forward, expanded, reassigned in another shape, changed in
    place.
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(6, 2), nn.BatchNorm1d(6)
        self.register_buffer("wide", torch.ones(6).expand(8, 6))
        self.register_buffer("seen", torch.zeros(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "lazy"):
            self.register_buffer("lazy", torch.ones(6))
        self.seen = torch.cat([self.seen, x[0, :1]])
        return self.linear(self.norm(x * self.wide * self.lazy))


def interrupted():
    yield from DATA
    raise KeyboardInterrupt


def test_a_pass_brings_every_buffer_back():
    net = Buffered()
    own, before = dict(net.named_buffers()), {name: b.clone() for name, b in net.named_buffers()}
    assert record_pass(net, loss, DATA).steps == 4
    with pytest.raises(KeyboardInterrupt):
        record_pass(net, loss, interrupted())
    after = dict(net.named_buffers())
    assert all(after[name] is own[name] and torch.equal(own[name], before[name]) for name in own)
    assert after.keys() == own.keys()


def test_frozen_is_about_the_rows_alone():
    net = model()
    with record_gradients(net, steps=3) as record:
        with torch.no_grad():
            net[0].weight += 1.0
        for step in range(3):
            backward(net, step)
            record.take()
    with torch.no_grad():
        net[0].bias += 1.0
    assert record.stream().frozen
    with record_gradients(net, steps=3) as record:
        for step in range(3):
            backward(net, step)
            record.take()
            with torch.no_grad():
                net[2].bias += 1.0 if step == 0 else 0.0
    assert not record.stream().frozen


def test_a_pass_takes_gradients_where_there_are_none():
    with torch.no_grad():
        assert record_pass(model(), loss, DATA).steps == 4


def test_recording_ends_where_a_parameter_changes_its_shape():
    net = model()
    optimizer = torch.optim.SGD(net.parameters())
    record = record_gradients(net, steps=5)
    for step in range(4):
        optimizer.zero_grad()
        if step == 2:
            net[2].weight.data, net[2].bias.data = torch.zeros(1, 40), torch.zeros(1)
        backward(net, step)
        if step == 2:
            with pytest.warns(
                UserWarning, match=r"Recording ended after 2 rows: the shape of 2\.weight changed"
            ):
                optimizer.step()
        else:
            optimizer.step()
    assert [(layer.name, layer.shape) for layer in record.stream().layers][2] == (
        "2.weight",
        (3, 40),
    )
    assert record.stream().steps == 2


def test_an_unused_parameter_is_not_failing():
    net = nn.ModuleDict({"used": nn.Linear(6, 2), "unused": nn.Linear(2, 2)})
    replay = replay_gradients(
        record_pass(net, lambda net, x: loss(net["used"], x), DATA), [0.0, 0.9], [0.9, 0.999]
    )
    assert predicted(replay, "unused.weight").tolist() == [[3, 3], [3, 3]]
    assert np.isnan(replay.layers["unused.weight"].cost).all()
    assert predicted(replay).max() < 3


def test_a_mean_gradient_of_zero_is_failing():
    net = nn.Linear(1, 1, bias=False)
    stream = record_pass(net, lambda net, x: net(x).mean(), torch.tensor([[[1.0]], [[-1.0]]] * 8))
    assert predicted(replay_gradients(stream, [0.0], [0.9, 0.999])).tolist() == [[2, 2]]


def test_numbers_of_numpy(tmp_path):
    stream = record_pass(
        model(), loss, DATA, batch_size=np.int64(8), steps=np.int64(3), step=np.int64(5)
    )
    smaller = with_batch_size(stream, np.int64(2))
    found = load(save(smaller, tmp_path / "grads.safetensors"))
    assert (found.batch_size, found.step, found.changed) == (2, 5, "extrapolated")


BAD = [
    (
        lambda: record_pass(model(), loss, DATA[:1]),
        "Too few batches: got 1; expected at least 2 (record_pass",
    ),
    (lambda: record_pass(model(), loss, []), "Too few batches: got 0"),
    (
        lambda: record_pass(model(), lambda net, x: loss(net, x) * math.nan, DATA),
        "All 4 gradients are not finite",
    ),
    (
        lambda: record_pass(model(), lambda net, x: net(x), DATA),
        "The loss is not a scalar: got 'a tensor of shape (8, 3)'",
    ),
    (
        lambda: record_pass(model(), lambda net, x: 1.0, DATA),
        "The loss is not a scalar: got 'float'",
    ),
    (
        lambda: record_pass(model(), lambda net, x: loss(net, x).detach(), DATA),
        "does not depend on the parameters",
    ),
    (lambda: record_pass(model(), loss, DATA, step="x"), "step is out of range: got 'x'"),
    (
        lambda: record_gradients(nn.LazyLinear(4)),
        "The model's parameters have no shape yet: got 'weight'",
    ),
    (
        lambda: record_gradients([*model().parameters()]),
        "model is of the wrong type: got 'list'; expected a torch.nn.Module",
    ),
    (
        lambda: record_gradients(nn.Linear(2, 2, dtype=torch.complex64)),
        "parameters are complex: got 'weight'",
    ),
    (
        lambda: record_gradients(model(), steps=10**12),
        "There is not enough memory for so many gradients",
    ),
    (
        lambda: record_gradients(model(), steps=10**30),
        "There is not enough memory for so many gradients",
    ),
    (
        lambda: with_batch_size(
            record_pass(model(), loss, DATA.repeat(8, 1, 1), batch_size=8), 16.0
        ),
        "cannot be made from",
    ),
    (
        lambda: with_batch_size(record_pass(model(), loss, DATA, batch_size=8), math.nan),
        "got nan; expected 1 to 8",
    ),
    (
        lambda: with_batch_size(record_pass(model(), loss, DATA, batch_size=8), "16"),
        "got '16'; expected 1 to 8",
    ),
    (
        lambda: record_problem(betaplane.load("digits:hidden=4"), seed=2**64),
        "The seed is too large",
    ),
    (
        lambda: record_problem(betaplane.load("digits:hidden=4"), seed=[1]),
        "seed is out of range: got [1]",
    ),
    (
        lambda: record_problem(betaplane.load("digits:hidden=4"), after=-1),
        "after is out of range: got -1",
    ),
    (
        lambda: record_problem(betaplane.load("digits:hidden=4"), after=10**12),
        "after is out of range: got 10000000000",
    ),
    (
        lambda: record_pass(model(), "mse", DATA),
        "loss is not callable: got 'mse'; expected a function (record_pass",
    ),
    (lambda: record_pass(model(), None, DATA), "loss is not callable: got None"),
    (
        lambda: record_pass(model(), lambda net: loss(net, DATA[0]), DATA),
        "expected a function of 2 arguments",
    ),
    (
        lambda: replay_gradients(record_pass(model(), loss, DATA), [0.9], [0.99], watch="x"),
        "watch is not callable",
    ),
    (
        lambda: record_problem(betaplane.load("digits:hidden=4"), steps=4, watch=3),
        "watch is not callable: got 3",
    ),
    (lambda: record_gradients(model(), seed=[1]), "seed is out of range: got [1]"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=range(len(BAD)))
def test_bad_input(call, text: str):
    with pytest.raises(betaplane.BadInput) as caught:
        call()
    assert text in str(caught.value)
    assert caught.value.where
    assert caught.value.instead
