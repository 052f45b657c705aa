"""C source into machine code: built once, kept on disk, loaded by later processes; and how it is
called on tensors.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import tempfile
from array import array
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from betaplane.optim.codegen.c_source import WORD, CText, c_file, c_text, filled
from betaplane.optim.codegen.cache_folder import folder, read_own
from betaplane.optim.codegen.trace import Recording
from betaplane.optim.once import once
from betaplane.optim.storage_formats import Format
from betaplane.tensors.memory_layout import is_dense

SECONDS = 60  # that a compiler may take
VERSION_SECONDS = 20  # that it may take to say which it is
MATH = ("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")  # none that changes a result
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", *MATH)
MACHINE = (
    ("-march=native", "-mprefer-vector-width=512", "-fopenmp"),
    ("-march=native", "-fopenmp"),
    ("-fopenmp",),
    ("-fopenmp-simd",),
    (),
)


FORKED: list[int] = []  # this process, if it is a fork of one that had loaded machine code


class NoCompiler(Exception):
    """This machine has no C compiler that works; says why."""


class Native:
    """A recorded pass as machine code, for parameters, gradients and states of certain types."""

    def __init__(self, recording: Recording, formats: tuple[Format, ...], code: CText) -> None:
        self.recording, self.formats, self.zero = recording, formats, code.zero
        self.sums, self.blocks, self.measured = code.sums, code.blocks, code.measured
        self._call = built(code.source, "step").step

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
            places: of each parameter the count of numbers, and how many lie between two places
                where blocks start anew.
            sets: of each which set of scalars is its own, and its seed for random rounding.
            scalars: sets of the recording's scalars, one after the other.

        Returns:
            The squared length of each parameter's update, where the form measures it; else an empty list.
        """
        count = len(columns[0])
        red = array("d", bytes(8 * count * (1 + self.sums)))
        pointers = array(
            "q", chain.from_iterable(map(Tensor.data_ptr, column) for column in columns)
        )
        *given, result = (
            ctypes.c_void_p(a.buffer_info()[0]) for a in (*places, *sets, pointers, scalars, red)
        )
        length = len(scalars) // (1 + max(sets[0]))
        whole = ctypes.c_int64
        self._call(whole(count), *given, whole(length), result, whole(threads()))
        return [] if self.measured is None else list(red[1 + self.measured :: 1 + self.sums])


@once
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


def threads() -> int:
    """How many threads a pass may take: torch's number, but one in a fork of a process that had
    loaded machine code.

    The threads of OpenMP are not there in a fork, which would wait for them forever.
    """
    return 1 if FORKED else torch.get_num_threads()


def _mark_fork() -> None:
    if tried.known:
        FORKED.append(os.getpid())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_fork)


def squares(tensors: Sequence[Tensor]) -> float:
    """The sum of the squares of all numbers of tensors on the CPU.

    Raises:
        NoCompiler: there is none, or it fails.
    """
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for value in tensors:
        kinds.setdefault(value.dtype, []).append(value if is_dense(value) else value.contiguous())
    return sum(_squares(WORD[dtype], found) for dtype, found in kinds.items())


def _squares(word: str, tensors: list[Tensor]) -> float:
    pointers = array("q", map(Tensor.data_ptr, tensors))
    sizes = array("q", map(Tensor.numel, tensors))
    wide = "double" if word == "double" else "float"
    load = "of_bf16" if word == "uint16_t" else ""
    call = built(filled(c_file("squares"), TYPE=word, LOAD=load, SUM=wide), "squares").squares
    call.restype = ctypes.c_double
    where = [ctypes.c_void_p(values.buffer_info()[0]) for values in (sizes, pointers)]
    return call(ctypes.c_int64(len(tensors)), *where, ctypes.c_int64(threads()))


def compiler() -> str | None:
    """The C compiler: what CC says, or cc, gcc or clang."""
    return next(
        (
            found
            for word in (os.environ.get("CC"), "cc", "gcc", "clang")
            if word and (found := shutil.which(word))
        ),
        None,
    )


def built(source: str, symbol: str) -> ctypes.CDLL:
    """The library of a source, from disk if it was built before; each source is tried once per
    process.

    It is written under another name and renamed when it is complete, and carries a digest of itself: a process that is
    killed half way, or writes at the same time, leaves nothing that is waited for or loaded.

    Args:
        source: C.
        symbol: a function in it.

    Raises:
        NoCompiler: there is no compiler, or it, the folder or the loader fails, or it takes longer than SECONDS.
    """
    found = tried(source, symbol)
    if isinstance(found, NoCompiler):
        raise found
    return found


@once
def tried(source: str, symbol: str) -> ctypes.CDLL | NoCompiler:
    """The library of a source, or why there is none; remembered, for a step is not to wait for a
    compiler again.
    """
    try:
        return _found_or_made(source, symbol)
    except NoCompiler as error:
        return error
    except (
        OSError,
        subprocess.SubprocessError,
    ) as error:  # a full disk, a program that is none, no folder at all
        return NoCompiler(str(error))


def _found_or_made(source: str, symbol: str) -> ctypes.CDLL:
    cc = compiler()
    if cc is None:
        raise NoCompiler("there is no C compiler on the path")
    key = hashlib.sha256(
        "\n".join((source, cc, version(cc), *FLAGS, str(MACHINE), machine())).encode()
    ).hexdigest()
    path = folder() / f"{key[:32]}.so"
    if complete(path):
        try:
            return loaded(path, symbol)
        except (OSError, AttributeError):
            path.unlink(missing_ok=True)
    return make(cc, source, symbol, path)


def loaded(path: Path, symbol: str) -> ctypes.CDLL:
    """A library with a function in it.

    Raises:
        OSError: it cannot be loaded, as from a file system mounted noexec.
        AttributeError: it lacks the function.
    """
    library = ctypes.CDLL(str(path))
    getattr(library, symbol)
    return library


@once
def version(cc: str) -> str:
    """What the compiler says it is."""
    return run([cc, "--version"], VERSION_SECONDS)[1]


def run(command: list[str], seconds: float) -> tuple[int, str, str]:
    """Run a program, with all that it starts: (exit code, output, errors).

    Raises:
        OSError: it cannot be run.
        subprocess.TimeoutExpired: it took longer than that many seconds, and was killed.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except BaseException:
            _kill(process)
            raise
    return process.returncode, out, err


def _kill(process: subprocess.Popen) -> None:
    """Kill a process with those it started; else they would hold its pipes open."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


@once
def machine() -> str:
    """The processor, for code is made for it alone: homes are shared among machines."""
    try:
        told = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        return "\n".join(
            line
            for line in told
            if line.startswith(("model name", "flags", "Features", "CPU part"))
        )
    except OSError:
        return platform.processor() + platform.machine()


def complete(path: Path) -> bool:
    """Whether a library of this user is there, as it was written: its last bytes are the digest of
    the others.
    """
    try:
        content = read_own(path)
    except OSError:
        return False
    return len(content) > 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]


def make(cc: str, source: str, symbol: str, path: Path) -> ctypes.CDLL:
    """Compile a source into a library at path, with the first set of flags whose library can be
    loaded.

    Raises:
        NoCompiler: there is none.
    """
    why = "nothing"
    with tempfile.TemporaryDirectory(dir=path.parent, ignore_cleanup_errors=True) as place:
        text, library = Path(place) / "step.c", Path(place) / "step.so"
        text.write_text(source)
        for flags in MACHINE:
            code, _, err = run([cc, *FLAGS, *flags, str(text), "-o", str(library), "-lm"], SECONDS)
            if code != 0:
                why = (err.strip() or why).splitlines()[0]
                continue
            try:
                _seal(library)
                # before it has its name: what cannot be loaded is not kept
                found = loaded(library, symbol)
            except (OSError, AttributeError) as error:
                why = str(error)
                continue
            os.replace(library, path)
            return found
    raise NoCompiler(f"{cc} says {why}")


def _seal(library: Path) -> None:
    """Append a library's digest, and close it to others."""
    content = library.read_bytes()
    library.write_bytes(content + hashlib.sha256(content).digest())
    library.chmod(0o700)
