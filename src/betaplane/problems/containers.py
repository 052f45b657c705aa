"""Read, compare and write back the content of each type of container."""

from __future__ import annotations

import array
import collections
import functools
import os
import pickle
import random
import types
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

Content = dict[Any, Any]  # items of a container by key, index or name

PLAIN = (
    int, float, complex, str, bytes, type(None), type(...), range, np.generic, torch.dtype,
    torch.device, torch.memory_format, types.BuiltinFunctionType, types.CodeType,
)  # fmt: skip
# of larger tensors that are not parameters only the version is compared, not the values
MAX_COPIED_ELEMENTS = 2**24


class Names(NamedTuple):
    """Some global variables of a module, or the attributes of a class (None: all but special
    ones).
    """

    owner: Any  # the dict of globals, or the class
    names: frozenset[str] | None = None


class Holder(NamedTuple):
    """How one type of container is read and written."""

    read: Callable[[Any], Content]
    write: Callable[[Any, Content], None]
    values: bool = False  # the content is a value that refers to no objects


def same(a: Content, b: Content) -> bool:
    """Whether two contents agree: the same objects, or equal plain values, in the same order."""
    return a.keys() == b.keys() and all(map(_alike, a.values(), b.values())) and [*a] == [*b]


def _alike(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, _Values):
        return a.equal(b)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    return isinstance(a, (*PLAIN, frozenset)) and (a == b or (a != a and b != b))


class _Values:
    """The elements of a tensor; only the version of a large tensor that is not a parameter."""

    def __init__(self, tensor: Tensor) -> None:
        self.flags = (
            tuple(tensor.shape),
            tensor.dtype,
            tensor.device,
            tensor.requires_grad,
            tensor._version,
        )
        small = isinstance(tensor, nn.Parameter) or tensor.numel() <= MAX_COPIED_ELEMENTS
        copied = small and tensor.layout is torch.strided
        self.copy = tensor.detach().clone() if copied else None

    def equal(self, other: _Values) -> bool:
        """Whether flags and elements agree; NaN equals NaN."""
        if self.flags[:-1] != other.flags[:-1]:
            return False
        if self.copy is None or other.copy is None:
            return self.flags == other.flags
        return torch.equal(self.copy, other.copy) or torch.allclose(
            self.copy, other.copy, 0.0, 0.0, equal_nan=True
        )


def _write_tensor(tensor: Tensor, content: Content) -> None:
    values = content[""]
    if values.copy is None:
        return
    with torch.no_grad():
        if (tensor.shape, tensor.dtype, tensor.device) == (
            values.copy.shape,
            values.copy.dtype,
            values.copy.device,
        ):
            tensor.detach().copy_(values.copy)
        else:
            tensor.data = values.copy
    if tensor.is_leaf:
        tensor.requires_grad_(values.flags[3])


def _write_dict(mapping: MutableMapping, content: Content) -> None:
    mapping.clear()
    mapping.update(content)


def _write_list(sequence: Any, content: Content) -> None:
    while len(sequence):
        sequence.pop()
    sequence.extend(content.values())


def _write_set(items: set, content: Content) -> None:
    items.clear()
    items.update(content[""])


def _read_cell(cell: types.CellType) -> Content:
    try:
        return {"": cell.cell_contents}
    except ValueError:  # the cell is empty
        return {}


def _write_cell(cell: types.CellType, content: Content) -> None:
    if content:
        cell.cell_contents = content[""]
    else:
        del cell.cell_contents


def _read_names(variables: Names) -> Content:
    owner = variables.owner
    if isinstance(owner, type):
        return {name: value for name, value in vars(owner).items() if not name.startswith("__")}
    return {name: owner[name] for name in sorted(variables.names or ()) if name in owner}


def _write_names(variables: Names, content: Content) -> None:
    owner, current = variables.owner, _read_names(variables)
    for name in current.keys() - content.keys():
        delattr(owner, name) if isinstance(owner, type) else owner.pop(name)
    for name, value in content.items():
        if name in current and _alike(current[name], value):
            continue
        if isinstance(owner, type):
            setattr(owner, name, value)
        else:
            owner[name] = value


def _state(read: Callable[[Any], Any], write: Callable[[Any, Any], Any]) -> Holder:
    """The holder of an object with a state that can be pickled."""
    return Holder(
        lambda item: {"": pickle.dumps(read(item))},
        lambda item, content: write(item, pickle.loads(content[""])),
        values=True,
    )


def _write_array(array: np.ndarray, saved: np.ndarray) -> None:
    array[...] = saved


def _write_bits(generator: np.random.BitGenerator, state: Any) -> None:
    generator.state = state


HOLDERS: tuple[tuple[Any, Holder], ...] = (  # the first match is used
    (Names, Holder(_read_names, _write_names)),
    (Tensor, Holder(lambda tensor: {"": _Values(tensor)}, _write_tensor, values=True)),
    ((dict, type(os.environ)), Holder(dict, _write_dict)),
    (
        (list, collections.deque, array.array),
        Holder(lambda items: dict(enumerate(items)), _write_list),
    ),
    (set, Holder(lambda items: {"": frozenset(items)}, _write_set)),
    (bytearray, Holder(lambda items: dict(enumerate(items)), _write_list)),
    (types.CellType, Holder(_read_cell, _write_cell)),
    (np.ndarray, _state(lambda array: array, _write_array)),
    (
        random.Random,
        _state(
            lambda generator: generator.getstate(),
            lambda generator, state: generator.setstate(state),
        ),
    ),
    (np.random.BitGenerator, _state(lambda generator: generator.state, _write_bits)),
    (
        np.random.Generator,
        Holder(lambda generator: {"": generator.bit_generator}, lambda generator, content: None),
    ),
    (
        np.random.RandomState,
        _state(
            lambda generator: generator.get_state(),
            lambda generator, state: generator.set_state(state),
        ),
    ),
    (
        torch.Generator,
        _state(
            lambda generator: generator.get_state().numpy(),
            lambda generator, state: generator.set_state(torch.from_numpy(state.copy())),
        ),
    ),
)


@functools.cache
def holder(cls: type) -> Holder | None:
    """How containers of a class are read and written; None if it is not a container."""
    return next((holder for bases, holder in HOLDERS if issubclass(cls, bases)), None)
