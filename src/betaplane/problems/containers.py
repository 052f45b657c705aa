"""How each kind of container is read, compared and written back."""

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

Content = dict[Any, Any]  # what a container holds, by key, index or name

PLAIN = (
    int, float, complex, str, bytes, type(None), type(...), range, np.generic, torch.dtype, torch.device,
    torch.memory_format, types.BuiltinFunctionType, types.CodeType,
)  # fmt: skip
# of larger tensors that are no parameters the version is kept, not the values
MOST_ELEMENTS = 2**24


class Names(NamedTuple):
    """Some of a module's global variables, or a class's attributes (None: all but special ones)."""

    owner: Any  # the dict of globals, or the class
    names: frozenset[str] | None = None


class Holder(NamedTuple):
    """Reads and writes one kind of container."""

    read: Callable[[Any], Content]
    write: Callable[[Any, Content], None]
    values: bool = False  # the content is a value, in which no objects are


def same(one: Content, other: Content) -> bool:
    """Whether two readings agree: the same objects, or equal plain values."""
    return (
        one.keys() == other.keys()
        and all(map(_alike, one.values(), other.values()))
        and [*one] == [*other]
    )


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
    """The elements of a tensor; of a large one that no optimizer trains only the version."""

    def __init__(self, tensor: Tensor) -> None:
        self.flags = (
            tuple(tensor.shape),
            tensor.dtype,
            tensor.device,
            tensor.requires_grad,
            tensor._version,
        )
        kept = isinstance(tensor, nn.Parameter) or tensor.numel() <= MOST_ELEMENTS
        self.kept = tensor.detach().clone() if kept and tensor.layout is torch.strided else None

    def equal(self, other: _Values) -> bool:
        """Whether flags and elements agree, NaNs too."""
        if self.flags[:-1] != other.flags[:-1]:
            return False
        if self.kept is None or other.kept is None:
            return self.flags == other.flags
        return torch.equal(self.kept, other.kept) or torch.allclose(
            self.kept, other.kept, 0.0, 0.0, equal_nan=True
        )


def _write_tensor(tensor: Tensor, content: Content) -> None:
    values = content[""]
    if values.kept is None:
        return
    with torch.no_grad():
        if (tensor.shape, tensor.dtype, tensor.device) == (
            values.kept.shape,
            values.kept.dtype,
            values.kept.device,
        ):
            tensor.detach().copy_(values.kept)
        else:
            tensor.data = values.kept
    if tensor.is_leaf:
        tensor.requires_grad_(values.flags[3])


def _write_dict(found: MutableMapping, content: Content) -> None:
    found.clear()
    found.update(content)


def _write_list(found: Any, content: Content) -> None:
    while len(found):
        found.pop()
    found.extend(content.values())


def _write_set(found: set, content: Content) -> None:
    found.clear()
    found.update(content[""])


def _read_cell(cell: types.CellType) -> Content:
    try:
        return {"": cell.cell_contents}
    except ValueError:  # nothing in it yet
        return {}


def _write_cell(cell: types.CellType, content: Content) -> None:
    if content:
        cell.cell_contents = content[""]
    else:
        del cell.cell_contents


def _read_names(found: Names) -> Content:
    if isinstance(found.owner, type):
        return {
            name: value for name, value in vars(found.owner).items() if not name.startswith("__")
        }
    return {name: found.owner[name] for name in sorted(found.names or ()) if name in found.owner}


def _write_names(found: Names, content: Content) -> None:
    now = _read_names(found)
    for name in now.keys() - content.keys():
        delattr(found.owner, name) if isinstance(found.owner, type) else found.owner.pop(name)
    for name, value in content.items():
        if name in now and _alike(now[name], value):
            continue
        if isinstance(found.owner, type):
            setattr(found.owner, name, value)
        else:
            found.owner[name] = value


def _state(read: Callable[[Any], Any], write: Callable[[Any, Any], Any]) -> Holder:
    """A holder of a state that pickles."""
    return Holder(
        lambda found: {"": pickle.dumps(read(found))},
        lambda found, content: write(found, pickle.loads(content[""])),
        values=True,
    )


def _write_array(found: np.ndarray, saved: np.ndarray) -> None:
    found[...] = saved


def _write_bits(found: np.random.BitGenerator, state: Any) -> None:
    found.state = state


HOLDERS: tuple[tuple[Any, Holder], ...] = (  # the first that fits
    (Names, Holder(_read_names, _write_names)),
    (Tensor, Holder(lambda found: {"": _Values(found)}, _write_tensor, values=True)),
    ((dict, type(os.environ)), Holder(dict, _write_dict)),
    (
        (list, collections.deque, array.array),
        Holder(lambda found: dict(enumerate(found)), _write_list),
    ),
    (set, Holder(lambda found: {"": frozenset(found)}, _write_set)),
    (bytearray, Holder(lambda found: dict(enumerate(found)), _write_list)),
    (types.CellType, Holder(_read_cell, _write_cell)),
    (np.ndarray, _state(lambda found: found, _write_array)),
    (
        random.Random,
        _state(lambda found: found.getstate(), lambda found, state: found.setstate(state)),
    ),
    (np.random.BitGenerator, _state(lambda found: found.state, _write_bits)),
    (
        np.random.Generator,
        Holder(lambda found: {"": found.bit_generator}, lambda found, content: None),
    ),
    (
        np.random.RandomState,
        _state(lambda found: found.get_state(), lambda found, state: found.set_state(state)),
    ),
    (
        torch.Generator,
        _state(
            lambda found: found.get_state().numpy(),
            lambda found, state: found.set_state(torch.from_numpy(state.copy())),
        ),
    ),
)


@functools.cache
def holder(kind: type) -> Holder | None:
    """How containers of a kind are read and written; None for what is no container."""
    return next((one for bases, one in HOLDERS if issubclass(kind, bases)), None)
