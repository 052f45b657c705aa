"""Tables, graphs and streams: a regression with scaled features, a graph network, a collate
function, and an IterableDataset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.user_forms.loop import STEPS, Settings, train
from betaplane import Problem

generator = torch.Generator().manual_seed(0)
features = torch.randn(120, 5, generator=generator) * torch.tensor([1.0, 100.0, 0.01, 5.0, 1.0])
prices = features @ torch.tensor([1.0, 0.02, 50.0, -0.3, 0.0]) + 3


class Regression(nn.Module):
    """Scales the features by their statistics, which are buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", features.mean(0))
        self.register_buffer("std", features.std(0))
        self.net = nn.Sequential(nn.Linear(5, 16), nn.GELU(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x - self.mean) / self.std).squeeze(1)


def regression_form() -> Problem:
    return Problem("regression", Regression, F.mse_loss, features, prices, 16, steps=STEPS)


def regression_loop(settings: Settings, seed: int) -> list[float]:
    order = torch.Generator().manual_seed(seed)
    epochs = [torch.randperm(120, generator=order)[:112].view(-1, 16) for _ in range(9)]
    batches = [(features[rows], prices[rows]) for epoch in epochs for rows in epoch]
    return train(settings, seed, Regression, batches, lambda m, b: F.mse_loss(m(b[0]), b[1]))


@dataclass
class Graphs:
    """Several graphs as one: nodes, edges, and the graph of each node."""

    nodes: Tensor  # (N, 4)
    edges: Tensor  # (2, E)
    graph: Tensor  # (N,)
    target: Tensor  # (G,)


def random_graph() -> Graphs:
    count = int(torch.randint(3, 7, (), generator=generator))
    nodes = torch.randn(count, 4, generator=generator)
    edges = torch.randint(count, (2, 2 * count), generator=generator)
    return Graphs(nodes, edges, torch.zeros(count, dtype=torch.long), nodes[:, :1].sum(0))


def merged(graphs: list[Graphs]) -> Graphs:
    sizes = torch.tensor([len(g.nodes) for g in graphs])
    starts = torch.cumsum(sizes, 0) - sizes
    edges = [g.edges + start for g, start in zip(graphs, starts, strict=True)]
    graph = torch.repeat_interleave(torch.arange(len(graphs)), sizes)
    return Graphs(torch.cat([g.nodes for g in graphs]), torch.cat(edges, 1), graph,
                  torch.cat([g.target for g in graphs]))  # fmt: skip


class GraphNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.message, self.update, self.head = nn.Linear(4, 8), nn.Linear(12, 8), nn.Linear(8, 1)

    def forward(self, g: Graphs) -> Tensor:
        sent = torch.relu(self.message(g.nodes))[g.edges[0]]
        received = torch.zeros(len(g.nodes), 8).index_add(0, g.edges[1], sent)
        hidden = torch.relu(self.update(torch.cat([g.nodes, received], 1)))
        pooled = torch.zeros(len(g.target), 8).index_add(0, g.graph, hidden)
        return self.head(pooled).squeeze(1)


graph_loader = DataLoader(
    [random_graph() for _ in range(60)],  # type: ignore[arg-type]
    batch_size=10, shuffle=True, collate_fn=merged,
)  # fmt: skip


def graph_loss(model: nn.Module, batch: Graphs) -> Tensor:
    return F.mse_loss(model(batch), batch.target)


def graph_form() -> Problem:
    return Problem("graphs", GraphNet, graph_loss, data=graph_loader, steps=STEPS)


def graph_loop(settings: Settings, seed: int) -> list[float]:
    return train(settings, seed, GraphNet, graph_loader, graph_loss)


def with_noise(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Augments the features by random numbers of the run."""
    x = torch.stack([row for row, _ in rows])
    return x + 0.01 * torch.randn_like(x), torch.stack([y for _, y in rows])


noisy_loader = DataLoader(
    [*zip(features, prices, strict=True)],  # type: ignore[arg-type]
    batch_size=16, shuffle=True, drop_last=True, collate_fn=with_noise, num_workers=2,
)  # fmt: skip


def collate_form() -> Problem:
    return Problem("collate", Regression, F.mse_loss, data=noisy_loader, steps=STEPS)


def collate_loop(settings: Settings, seed: int) -> list[float]:
    loader = DataLoader(noisy_loader.dataset, 16, True, drop_last=True, collate_fn=with_noise)
    return train(settings, seed, Regression, loader, lambda m, b: F.mse_loss(m(b[0]), b[1]))


class Stream(IterableDataset):
    """Examples one by one, as from a file that does not fit in memory."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(features, prices, strict=True)


stream_loader = DataLoader(Stream(), batch_size=16)


def stream_form() -> Problem:
    return Problem("stream", Regression, F.mse_loss, data=stream_loader, steps=STEPS)


def stream_loop(settings: Settings, seed: int) -> list[float]:
    return train(settings, seed, Regression, stream_loader, lambda m, b: F.mse_loss(m(b[0]), b[1]))
