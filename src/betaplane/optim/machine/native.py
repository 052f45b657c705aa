"""C source into machine code: built once, kept on disk, loaded by later processes; and how it is called on tensors."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from array import array
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from betaplane.optim.formats import Format
from betaplane.optim.layout import dense
from betaplane.optim.machine.c_text import WORD, CText, c_file, c_text, filled
from betaplane.optim.machine.record import Recording

SECONDS = 120  # that a compiler may take
MATH = ("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")  # none that changes a result
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", *MATH)
MACHINE = (
    ("-march=native", "-mprefer-vector-width=512", "-fopenmp"),
    ("-march=native", "-fopenmp"),
    ("-fopenmp",),
    ("-fopenmp-simd",),
    (),
)


class NoCompiler(Exception):
    """This machine has no C compiler that works; says why."""


class Native:
    """A recorded pass as machine code, for parameters, gradients and states of certain types."""

    def __init__(self, recording: Recording, formats: tuple[Format, ...], code: CText) -> None:
        self.recording, self.formats, self.zero = recording, formats, code.zero
        self.sums, self.blocks, self.measured = code.sums, code.blocks, code.measured
        self._call = built(code.source).step

    def step(
        self,
        columns: Sequence[Sequence[Tensor]],
        places: tuple[array, array],
        sets: tuple[array, array],
        scalars: array,
    ) -> list[float]:
        """One pass over a list of parameters, in place.

        Args:
            columns: the x, the g, what is kept of each of the recording's tensors, and the scales; all of one parameter
                dense and laid out alike.
            places: of each parameter the count of numbers, and how many lie between two places where blocks start anew.
            sets: of each which set of scalars is its own, and its seed for random rounding.
            scalars: sets of the recording's scalars, one after the other.

        Returns:
            The squared length of each parameter's update, where the form measures it; else an empty list.
        """
        count = len(columns[0])
        red = array("d", bytes(8 * count * (1 + self.sums)))
        pointers = array("q", chain.from_iterable(map(Tensor.data_ptr, column) for column in columns))
        *given, result = (ctypes.c_void_p(a.buffer_info()[0]) for a in (*places, *sets, pointers, scalars, red))
        length = len(scalars) // (1 + max(sets[0]))
        whole = ctypes.c_int64
        self._call(whole(count), *given, whole(length), result, whole(torch.get_num_threads()))
        return [] if self.measured is None else list(red[1 + self.measured :: 1 + self.sums])


@cache
def native(recording: Recording, formats: tuple[Format, ...], g: torch.dtype, zero: bool) -> Native:
    """The machine code of a recorded pass.

    Args:
        recording: the pass.
        formats: how x and the recording's tensors are kept.
        g: the gradient's type.
        zero: whether the gradient is set to zero.

    Raises:
        NoCompiler: there is none, or it fails.
    """
    return Native(recording, formats, c_text(recording, formats, g, zero))


def squares(tensors: Sequence[Tensor]) -> float:
    """The sum of the squares of all numbers of tensors on the CPU.

    Raises:
        NoCompiler: there is none, or it fails.
    """
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for value in tensors:
        kinds.setdefault(value.dtype, []).append(value if dense(value) else value.contiguous())
    return sum(_squares(WORD[dtype], found) for dtype, found in kinds.items())


def _squares(word: str, tensors: list[Tensor]) -> float:
    pointers = array("q", map(Tensor.data_ptr, tensors))
    sizes = array("q", map(Tensor.numel, tensors))
    wide = "double" if word == "double" else "float"
    load = "of_bf16" if word == "uint16_t" else ""
    call = built(filled(c_file("squares"), TYPE=word, LOAD=load, SUM=wide)).squares
    call.restype = ctypes.c_double
    where = [ctypes.c_void_p(values.buffer_info()[0]) for values in (sizes, pointers)]
    return call(ctypes.c_int64(len(tensors)), *where, ctypes.c_int64(torch.get_num_threads()))


def compiler() -> str | None:
    """The C compiler: what CC says, or cc, gcc or clang."""
    return next(
        (found for word in (os.environ.get("CC"), "cc", "gcc", "clang") if word and (found := shutil.which(word))), None
    )


@cache
def built(source: str) -> ctypes.CDLL:
    """The library of a source, from disk where it was built before.

    It is written under another name and renamed when it is whole, and carries a digest of itself: who is killed half
    way, or writes at the same time, leaves nothing that is waited for or loaded.

    Raises:
        NoCompiler: there is none, or it fails, or it takes longer than SECONDS.
    """
    cc = compiler()
    if cc is None:
        raise NoCompiler("there is no C compiler on the path")
    key = hashlib.sha256("\n".join((source, cc, version(cc), *FLAGS, str(MACHINE), machine())).encode()).hexdigest()
    path = folder() / f"{key[:32]}.so"
    if not whole(path):
        make(cc, source, path)
    return ctypes.CDLL(str(path))


@cache
def version(cc: str) -> str:
    """What the compiler says it is."""
    return subprocess.run([cc, "--version"], capture_output=True, text=True, timeout=SECONDS).stdout


@cache
def machine() -> str:
    """The processor, for code is made for it alone: homes are shared among machines."""
    try:
        told = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        return "\n".join(line for line in told if line.startswith(("model name", "flags", "Features", "CPU part")))
    except OSError:
        return platform.processor() + platform.machine()


@cache
def folder() -> Path:
    """Where machine code is kept: $XDG_CACHE_HOME/betaplane, or a folder of this process where that is not writable."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "betaplane"
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=home):
            return home
    except OSError:
        return Path(tempfile.mkdtemp(prefix="betaplane-"))


def whole(path: Path) -> bool:
    """Whether a library is there, as it was written: its last bytes are the digest of the others."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return len(content) > 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]


def make(cc: str, source: str, path: Path) -> None:
    """Compile a source into a library at path, with the first set of flags the compiler takes."""
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        text, library = Path(place) / "step.c", Path(place) / "step.so"
        text.write_text(source)
        said = ""
        for flags in MACHINE:
            try:
                done = subprocess.run(
                    [cc, *FLAGS, *flags, str(text), "-o", str(library), "-lm"],
                    capture_output=True, text=True, timeout=SECONDS,
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired) as error:
                raise NoCompiler(str(error)) from None
            if done.returncode == 0:
                content = library.read_bytes()
                library.write_bytes(content + hashlib.sha256(content).digest())
                os.replace(library, path)
                return
            said = done.stderr.strip()
        raise NoCompiler(f"{cc} says {said.splitlines()[0] if said else 'nothing'}")
