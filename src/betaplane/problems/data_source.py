"""Minibatches without end from the user's data: a DataLoader, a Dataset, or a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from betaplane.errors import BadInput, expect_function
from betaplane.problems.loader import check_loader, loader_of_size, size_of_loader
from betaplane.problems.order import Order, minibatches

Data = DataLoader | Dataset | Callable[[int, int], Iterable[Any]]
MAX_HELD_OUT = 10_000  # batches of held-out data
FORMS = "a DataLoader, a Dataset, or a function (batch_size, seed) -> batches"


def check_data(data: Any, where: str, name: str = "data") -> None:
    """Raise BadInput unless the data have one of the forms that `endless` takes."""
    if isinstance(data, DataLoader):
        check_loader(data, where)
    elif not isinstance(data, Dataset):
        instead = f"{name}=DataLoader(dataset, batch_size=32, shuffle=True)"
        if isinstance(data, Iterator) or not callable(data):
            raise BadInput(
                f"{name} is not a source of minibatches that can be read again for each run",
                value=type(data).__name__,
                allowed=FORMS,
                where=where,
                instead=instead,
            )
        expect_function(data, name, instead, where, takes=2)


def pair_of_tensors(data: Any) -> tuple[Any, ...] | None:
    """Inputs and targets of a TensorDataset of two tensors; None for other data."""
    if type(data) is TensorDataset and len(data.tensors) == 2:
        return data.tensors
    return None


def default_size(data: Any, where: str, otherwise: int) -> int:
    """The batch size of data if none is given: the loader's own."""
    if not isinstance(data, DataLoader):
        return otherwise
    size = size_of_loader(data)
    if size is None:
        raise BadInput(
            "The DataLoader does not say how many examples a batch has",
            value=f"batch_sampler={type(data.batch_sampler).__name__}",
            allowed="batch_size, for the name of the map and the store",
            where=where,
            instead="batch_size=32",
        )
    return size


def number_of_examples(data: Any) -> int | None:
    """The number of examples, or None for a stream or a function."""
    dataset: Any = data.dataset if isinstance(data, DataLoader) else data
    try:
        return None if isinstance(dataset, IterableDataset) else len(dataset)
    except (TypeError, NotImplementedError):
        return None


def endless(data: Any, batch_size: int, order: Order, seed: int, where: str) -> Iterator[Any]:
    """Yield minibatches without end.

    A loader is iterated again and again, as in a loop over epochs: it draws from the global
    generators, or from its own. A map-style dataset is read in the order of `minibatches`. A
    function is called once with batch size and seed; what it returns is iterated again and again.

    Raises:
        BadInput: the data have no batch, or end before the run does and cannot be read again.
    """
    if isinstance(data, DataLoader):
        return _epochs(loader_of_size(data, batch_size, where), where)
    if isinstance(data, IterableDataset):
        return _epochs(DataLoader(data, batch_size=batch_size), where)
    if isinstance(data, Dataset):
        return _examples(data, batch_size, order, seed, where)
    return _epochs(data(batch_size, seed), where)


def _examples(dataset: Any, batch_size: int, order: Order, seed: int, where: str) -> Iterator[Any]:
    for index in minibatches(len(dataset), batch_size, order, seed, block=1):
        rows = index[0].tolist()
        fetch = getattr(dataset, "__getitems__", None)
        yield default_collate(fetch(rows) if fetch else [dataset[row] for row in rows])


def _epochs(batches: Any, where: str) -> Iterator[Any]:
    if not isinstance(batches, Iterable):
        raise BadInput(
            "data(batch_size, seed) does not return batches",
            value=type(batches).__name__,
            allowed="a DataLoader, a list or a generator of batches",
            where=where,
            instead=FUNCTION_EXAMPLE,
        )
    number = 0
    while True:
        before = number
        for batch in batches:
            number += 1
            yield batch
        if number == before or isinstance(batches, Iterator):
            raise ended(number, where)


FUNCTION_EXAMPLE = "def data(batch_size, seed): yield ..."


def ended(number: int, where: str) -> BadInput:
    """The error for data that yield no batch, or end before the run does."""
    if not number:
        return BadInput(
            "The data yield no batch", value=0, allowed="at least 1 batch per epoch", where=where
        )
    return BadInput(
        "The data end before the run does, and cannot be read again",
        value=f"{number} batches",
        allowed="one batch per step: a generator without end, or a DataLoader or list per epoch",
        where=where,
        instead=f"steps={number}",
    )


def finite(data: Any, batch_size: int, where: str) -> Iterator[Any]:
    """Yield all minibatches once, in order: held-out data.

    Args:
        data: inputs and targets as a pair, a DataLoader, a Dataset, or a function (batch_size, seed).
        batch_size: examples per batch, for data without batches of their own.
        where: the problem, for errors.

    Raises:
        BadInput: the data do not end.
    """
    for number, batch in enumerate(_held_out(data, batch_size, where)):
        if number == MAX_HELD_OUT:
            raise BadInput(
                "The held-out data do not end",
                value=f"more than {MAX_HELD_OUT:,} batches",
                allowed="data that end: they are read whole for each evaluation",
                where=where,
                instead="validation=DataLoader(dataset, batch_size=256)",
            )
        yield batch


def _held_out(data: Any, batch_size: int, where: str) -> Iterable[Any]:
    if isinstance(data, tuple):
        data = TensorDataset(*data)
    if isinstance(data, DataLoader):
        return loader_of_size(data, size_of_loader(data) or batch_size, where)
    if isinstance(data, Dataset):
        return DataLoader(data, batch_size=batch_size)
    return data(batch_size, 0)
