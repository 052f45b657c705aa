"""Rebuild tensors as views of the bytes of a file, after checking that their description fits the
bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from betaplane.checkpoints.inert_pickle import Inert, checked_key

MAX_DIMENSIONS = 32
NUMPY_FORMATS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "u8": "Q", "u4": "I"}  # for struct
BUILTINS = (
    "set",
    "slice",
    "range",
    "complex",
    "bytearray",
    "dict",
    "list",
    "tuple",
    "int",
    "float",
    "str",
    "bool",
)
STORAGES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Byte": torch.uint8, "Char": torch.int8, "Short": torch.int16, "Int": torch.int32, "Long": torch.int64,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128, "Untyped": torch.uint8,
}  # fmt: skip


class Span(NamedTuple):
    """The position of a storage's bytes."""

    buffer: Any  # a copy-on-write buffer: writing does not change the file
    start: int
    length: int


class Storage:
    """Bytes of a file as elements of a dtype."""

    def __init__(self, span: Span, dtype: torch.dtype) -> None:
        self.span = span
        self.dtype = dtype
        self.flat: dict[torch.dtype, Tensor] = {}

    def elements(self, dtype: torch.dtype) -> Tensor:
        """All elements, flat; without a copy if they are aligned."""
        if dtype not in self.flat:
            self.flat[dtype] = _elements(self.span, dtype)
        return self.flat[dtype]


def _elements(span: Span, dtype: torch.dtype) -> Tensor:
    buffer, start, length = span
    count = length // dtype.itemsize
    if not count:
        return torch.empty(0, dtype=dtype)
    if start % dtype.itemsize:
        buffer, start = bytearray(memoryview(buffer)[start : start + length]), 0
    return torch.frombuffer(buffer, dtype=dtype, count=count, offset=start)


class Storages:
    """The storages of a file, created when its pickle refers to them.

    Args:
        spans: the bytes of each key.
    """

    def __init__(self, spans: Mapping[str, Span]) -> None:
        self.spans = spans
        self.made: dict[tuple[str, torch.dtype], Storage] = {}

    def __call__(self, pid: Any) -> Storage:
        """The storage of a persistent id: ("storage", dtype, key, location, elements), optionally
        with a view.
        """
        tag, dtype, key, _, count, *view = pid
        has_types = isinstance(dtype, torch.dtype) and isinstance(key, str)
        if tag != "storage" or not has_types or view not in ([], [None]):
            raise ValueError("a storage is not described as torch does")
        if type(count) is not int or count < 0:
            raise ValueError("a storage has an invalid number of elements")
        if (key, dtype) not in self.made:
            self.made[key, dtype] = Storage(self.span(key, count * dtype.itemsize), dtype)
        return self.made[key, dtype]

    def span(self, key: str, length: int) -> Span:
        """The bytes of a storage, whose length must match its description."""
        span = self.spans.get(key)
        if span is None or span.length != length:
            stored = 0 if span is None else span.length
            raise ValueError(f"storage {key!r} has {stored:,} bytes, but describes {length:,}")
        return span


class Lengths(Storages):
    """Records the lengths of the storages that a pickle refers to; each is the first bytes of the file."""

    def __init__(self, buffer: Any) -> None:
        super().__init__({})
        self.buffer = buffer
        self.lengths: dict[str, tuple[int, int]] = {}  # bytes, bytes per element

    def __call__(self, pid: Any) -> Storage:
        """A storage; its length is recorded."""
        storage = super().__call__(pid)
        self.lengths[pid[2]] = (storage.span.length, storage.dtype.itemsize)
        return storage

    def span(self, key: str, length: int) -> Span:
        """Bytes of this length, from the start of the file."""
        if length > len(self.buffer):
            raise ValueError(f"storage {key!r} is larger than the file")
        return Span(self.buffer, 0, length)

    def places(self, keys: Any, at: int) -> dict[str, Span]:
        """The bytes of each storage, in sequence from `at`, each after its number of elements."""
        spans = {}
        for key in keys:
            length, item = self.lengths[key]
            if struct.unpack_from("<q", self.buffer, at)[0] * item != length:
                raise ValueError(f"storage {key!r} has another length than its description")
            spans[key], at = Span(self.buffer, at + 8, length), at + 8 + length
        if at != len(self.buffer) or set(spans) != set(self.lengths):
            raise ValueError("its storages do not fill it")
        return spans


@dataclass(frozen=True)
class Unreadable:
    """A tensor that is not dense: sparse, nested, quantized, or on the meta device."""

    kind: str


class InertTensor(Inert):
    """A stand-in for a tensor subclass of another library: its fields, without operations."""


def tensor(
    storage: Any, offset: Any, size: Any, stride: Any, *_: Any, dtype: torch.dtype | None = None
) -> Tensor:
    """A view of the storage, if it is within its bounds.

    Raises:
        ValueError: a size, stride or offset is not a whole number >= 0, or exceeds the storage.
    """
    has_types = isinstance(size, tuple) and isinstance(stride, tuple)
    if not isinstance(storage, Storage) or not has_types:
        raise ValueError("a tensor is not described as torch does")
    integers = (offset, *size, *stride)
    are_valid = all(type(n) is int and n >= 0 for n in integers)
    if not are_valid or len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
        raise ValueError(f"a tensor has offset, sizes and strides {_short(integers)}")
    flat = storage.elements(dtype or storage.dtype)
    last = offset + sum((n - 1) * by for n, by in zip(size, stride, strict=True))
    if 0 in size:
        return torch.empty(size, dtype=flat.dtype)
    if last >= flat.numel():
        raise ValueError(f"a tensor reaches to element {last:,} of a storage of {flat.numel():,}")
    return flat.as_strided(size, stride, offset)


def _short(numbers: tuple[Any, ...]) -> str:
    texts = [str(n)[:20] if type(n) is int and abs(n) < 2**64 else "?" for n in numbers[:6]]
    return f"({', '.join(texts)})"


def _tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, _: Any, __: Any, dtype: Any, *___: Any
) -> Tensor:
    """A tensor of a dtype that has no storage class."""
    if not isinstance(dtype, torch.dtype):
        raise ValueError("a tensor has no dtype")
    return tensor(storage, offset, size, stride, dtype=dtype)


def _subclass(function: Any, kind: Any, args: Any, state: Any) -> Any:
    """A tensor of a subclass: the plain one, or a stand-in with its fields."""
    if kind is InertTensor:
        stand_in = InertTensor(*args)
        stand_in.set_state(state)
        return stand_in
    if function is _subclass or not callable(function):
        raise ValueError("a tensor is not described as torch does")
    return function(*args)


def _scalar(dtype: Any, buffer: Any = b"") -> float | int:
    """A numpy scalar."""
    return struct.unpack(f"<{NUMPY_FORMATS[dtype.args[0]]}", buffer)[0]


def _encoded(text: Any, *_: Any) -> bytes:
    """Bytes, as pickle protocol 2 encodes them."""
    return text.encode("latin1") if isinstance(text, str) else b""


def _ordered(items: Any = ()) -> dict[Any, Any]:
    """A dict from pairs or from another dict."""
    pairs = items.items() if isinstance(items, dict) else items
    return {checked_key(key): value for key, value in pairs}


def _layout(name: Any = "") -> str:
    return str(name).removeprefix("torch.") if isinstance(name, str) else "?"


def _unreadable(kind: str) -> Callable[..., Unreadable]:
    return lambda *_: Unreadable(kind)


TABLE: dict[str, Any] = {
    "torch._utils._rebuild_tensor": tensor,
    "torch._utils._rebuild_tensor_v2": tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch._utils._rebuild_sparse_tensor": lambda layout, *_: Unreadable(str(layout)),
    "torch._utils._rebuild_sparse_csr_tensor": lambda layout, *_: Unreadable(str(layout)),
    "torch._utils._rebuild_nested_tensor": _unreadable("nested"),
    "torch._utils._rebuild_qtensor": _unreadable("quantized"),
    "torch._utils._rebuild_meta_tensor_no_storage": _unreadable("on meta"),
    "torch._utils._rebuild_device_tensor_from_numpy": _unreadable("on another device"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": lambda tensor, *_: tensor,
    "torch._utils._rebuild_wrapper_subclass": Inert,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch.serialization._get_layout": _layout,
    "torch.nn.parameter.Parameter": Inert,
    "torch.device": Inert,
    "torch.Tensor": Inert,
    "torch.Size": tuple,
    "torch.BoolTensor": Inert,
    **{f"builtins.{name}": Inert for name in BUILTINS},
    "_codecs.encode": _encoded,
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": lambda *_: {},
    "collections.Counter": _ordered,
    "torchao.optim.subclass_8bit.OptimState8bit": InertTensor,
    "torchao.optim.subclass_4bit.OptimState4bit": InertTensor,
    "torchao.optim.subclass_fp8.OptimStateFp8": InertTensor,
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"torch.{name}Storage": dtype for name, dtype in STORAGES.items()},
    "torch.storage.UntypedStorage": torch.uint8,
    **{str(x): x for x in vars(torch).values() if isinstance(x, torch.dtype)},
}
