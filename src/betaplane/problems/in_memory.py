"""Recognize a DataLoader whose batches are rows of two tensors, so that its runs can be stacked."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from betaplane.problems.data_source import ended
from betaplane.problems.loader import loader_of_size

# They draw from the global generator only at the start of an epoch.
SAMPLERS = (SequentialSampler, RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
INDICES = (list, tuple, range, Tensor, np.ndarray)


def why_not_in_memory(data: Any) -> str:
    """Why batches are not known to be rows of two tensors, as a clause after "because"; "" if they
    are.

    Args:
        data: the data of a problem, if they are not two tensors.

    Example:
        >>> x = torch.ones(6, 1)
        >>> why_not_in_memory(DataLoader(TensorDataset(x, x), batch_size=2, shuffle=True))
        ''
        >>> why_not_in_memory(DataLoader(TensorDataset(x, x), collate_fn=list))
        'its loader has a collate_fn of its own'
    """
    if not isinstance(data, DataLoader):
        return "its data are not two tensors in memory"
    reasons = (_of_loader(data), _of_dataset(data.dataset), _of_sampler(data.batch_sampler))
    return next(filter(None, reasons), "")


def _of_loader(loader: DataLoader) -> str:
    if type(loader) is not DataLoader:
        return f"its loader is a {type(loader).__name__}, a subclass of DataLoader"
    if loader.batch_sampler is None:
        return "its loader does not make batches"
    if loader.collate_fn is not default_collate:
        return "its loader has a collate_fn of its own"
    return "its loader has a worker_init_fn" if loader.worker_init_fn is not None else ""


def _of_dataset(dataset: Any) -> str:
    if type(dataset) is Subset and isinstance(dataset.indices, INDICES):
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset:
        return f"its data set is a {type(dataset).__name__}, not a TensorDataset"
    if len(dataset.tensors) != 2:
        return f"its data set has {len(dataset.tensors)} tensors, not inputs and targets"
    plain = [type(t) is Tensor and t.layout is torch.strided for t in dataset.tensors]
    if not all(plain) or any(t.requires_grad for t in dataset.tensors):
        return "its data set has a tensor that is sparse, of a subclass, or requires a gradient"
    return ""


def _of_sampler(batch_sampler: Any) -> str:
    if type(batch_sampler) is not BatchSampler:
        return f"its loader has a {type(batch_sampler).__name__} for batches"
    sampler: Any = batch_sampler.sampler
    if type(sampler) not in SAMPLERS:
        return f"its loader has a {type(sampler).__name__}"
    if not isinstance(getattr(sampler, "indices", []), INDICES):
        return "its sampler has indices that are computed"
    if getattr(sampler, "generator", None) is torch.default_generator:
        return "its sampler shares the global random numbers"
    return ""


def tensors_of(loader: DataLoader) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a loader that `why_not_in_memory` accepts."""
    dataset: Any = loader.dataset
    if isinstance(dataset, Subset):
        rows = torch.as_tensor(dataset.indices)
        x, y = (tensor[rows] for tensor in dataset.dataset.tensors)  # pyright: ignore
        return x, y
    return dataset.tensors


def with_tensors(loader: DataLoader, x: Tensor, y: Tensor) -> DataLoader:
    """A copy of the loader with other tensors of the same length."""
    new: Any = copy.copy(loader)
    vars(new).update(dataset=TensorDataset(x, y))  # the loader refuses to have it replaced
    return new


def with_few_rows(loader: DataLoader, batch_size: int) -> DataLoader:
    """A loader of the first rows, with two whole batches and the short one, if there is any.

    Epochs end within a few steps. A loader whose sampler selects rows is returned unchanged.
    """
    x, y = tensors_of(loader)
    batch_sampler: Any = loader.batch_sampler
    sampler = batch_sampler.sampler
    if type(sampler) in (SubsetRandomSampler, WeightedRandomSampler):
        return loader
    rows = min(2 * batch_size + len(x) % batch_size, len(x))
    few = TensorDataset(x[:rows], y[:rows])
    options = {"generator": loader.generator, "drop_last": batch_sampler.drop_last}
    if type(sampler) is SequentialSampler:
        return DataLoader(few, batch_size, **options)
    drawn = RandomSampler(few, sampler.replacement, generator=sampler.generator)
    return DataLoader(few, batch_size, sampler=drawn, **options)


class LoaderRows:
    """The rows of each batch of a loader, from its own sampler, as it is iterated epoch by epoch.

    The loader draws from the global generator when an epoch starts. Therefore, a segment of batches
    ends with its epoch, and the next epoch starts only when the next segment is requested.

    Args:
        loader: a loader that `why_not_in_memory` accepts.
        batch_size: examples per batch.
        where: the problem, for errors.
    """

    def __init__(self, loader: DataLoader, batch_size: int, where: str) -> None:
        rows = range(len(loader.dataset))  # pyright: ignore[reportArgumentType]
        self.loader, self.where = loader_of_size(loader, batch_size, where), where
        vars(self.loader).update(dataset=rows, collate_fn=torch.tensor)
        self.epoch: Iterator[Tensor] = iter(())
        self.waiting: Tensor | None = None  # a batch of another size than those before it

    def segment(self, limit: int) -> Tensor:
        """The next batches, of one size and one epoch: int64 (k, batch), with k from 1 to `limit`."""
        batches = [self._next()]
        while len(batches) < limit and (rows := self._next_of_epoch()) is not None:
            if len(rows) != len(batches[0]):
                self.waiting = rows
                break
            batches.append(rows)
        return torch.stack(batches)

    def _next(self) -> Tensor:
        rows = self._next_of_epoch()
        if rows is None:
            self.epoch = iter(self.loader)
            rows = self._next_of_epoch()
        if rows is None:
            raise ended(0, self.where)
        return rows

    def _next_of_epoch(self) -> Tensor | None:
        rows, self.waiting = self.waiting, None
        return next(self.epoch, None) if rows is None else rows
