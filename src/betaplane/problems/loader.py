"""Use the user's DataLoader in the process that trains, at the batch size of a run."""

from __future__ import annotations

import copy
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from betaplane.errors import BadInput

FUNCTION = "data=lambda batch_size, seed: DataLoader(dataset, batch_size=batch_size, ...)"


def check_loader(loader: DataLoader, where: str) -> None:
    """Raise BadInput for a loader whose batches depend on its worker processes.

    A map-style dataset gives the same batches with and without workers, unless it draws random
    numbers. Each worker reads a stream from its own part or from the start.
    """
    if isinstance(loader.dataset, IterableDataset) and loader.num_workers > 0:
        raise BadInput(
            "The batches of an IterableDataset depend on the worker processes of its loader, and "
            "runs are trained without them",
            value=f"num_workers={loader.num_workers}",
            allowed="num_workers=0",
            where=where,
            instead="data=DataLoader(dataset, batch_size=32, num_workers=0)",
        )


def loader_of_size(loader: DataLoader, batch_size: int, where: str) -> DataLoader:
    """A copy of the loader that loads in this process, with batches of this size.

    Dataset, sampler, collate function and generators are those of the loader.

    Raises:
        BadInput: the size is another one, and the loader's batches cannot be resized.
    """
    new: Any = copy.copy(loader)
    new.num_workers, new.timeout, new.pin_memory = 0, 0, False
    if batch_size in (loader.batch_size, size_of_loader(loader)):
        return new
    if type(loader.batch_sampler) is not BatchSampler or loader.batch_size is None:
        raise BadInput(
            "The batch size of this DataLoader cannot be changed, since it does not make the "
            "batches",
            value=f"batch_size={batch_size}; {type(loader.batch_sampler).__name__}",
            allowed="a DataLoader(dataset, batch_size=...), or a function (batch_size, seed)",
            where=where,
            instead=FUNCTION,
        )
    sampler = BatchSampler(loader.sampler, batch_size, loader.drop_last)
    # the loader refuses to have these replaced, since it may have started; this copy has not
    vars(new).update(batch_size=batch_size, batch_sampler=sampler)
    return new


def size_of_loader(loader: DataLoader) -> int | None:
    """Examples per batch of a loader, or None if it does not say."""
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
    return size if isinstance(size, int) else None
