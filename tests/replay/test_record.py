"""Recording: what the optimizer saw, row by row, and nothing else touched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import betaplane
from betaplane.replay import record_gradients, record_pass, record_problem
from betaplane.replay.sample import shares


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 3))


def backward(net: nn.Module, seed: int, examples: int = 8) -> None:
    x = torch.randn(examples, 6, generator=torch.Generator().manual_seed(seed))
    net(x).square().mean().backward()


def flat(net: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.reshape(-1) for p in net.parameters()])


@pytest.mark.parametrize("kind", [torch.optim.Adam, betaplane.AdamW, betaplane.Lion, torch.optim.SGD])
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
    live, frozen = (record_problem(betaplane.load("digits:hidden=4"), steps=56, live=live) for live in (True, False))
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
    assert (parts.frozen, parts.layers, parts.about) == (False, whole.layers, {"sharded": "the parts of process 0"})
    with pytest.raises(betaplane.BadInput, match=r"are sharded: got '0\.weight'"):
        record_pass(sharded, lambda net, x: net(x).square().mean(), torch.randn(2, 8, 6))
