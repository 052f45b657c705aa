"""Compile C source into shared libraries, which are cached on disk and loaded by later processes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from betaplane.optim.codegen.cache_folder import cache_folder, read_private
from betaplane.optim.once import once

COMPILE_TIMEOUT_S = 60
VERSION_TIMEOUT_S = 20
MATH_FLAGS = ("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")  # results stay the same
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", *MATH_FLAGS)
MACHINE_FLAGS = (  # tried in this order
    ("-march=native", "-mprefer-vector-width=512", "-fopenmp"),
    ("-march=native", "-fopenmp"),
    ("-fopenmp",),
    ("-fopenmp-simd",),
    (),
)


class NoCompiler(Exception):
    """This machine has no C compiler that works; the message is the reason."""


def find_compiler() -> str | None:
    """The path of the C compiler: $CC, or cc, gcc or clang; None if there is none."""
    for program in (os.environ.get("CC"), "cc", "gcc", "clang"):
        path = shutil.which(program) if program else None
        if path:
            return path
    return None


def load_library(source: str, symbol: str) -> ctypes.CDLL:
    """Load the shared library of a C source, which is compiled if it is not on disk.

    It is compiled under another name and renamed when it is complete, and it ends with a digest of itself. So a process
    that is killed halfway, or that compiles at the same time, leaves nothing that others wait for or load.

    Args:
        source: C code.
        symbol: a function in it.

    Raises:
        NoCompiler: there is no compiler, or it, the folder or the loader fails, or it takes longer than
            COMPILE_TIMEOUT_S.
    """
    library = try_load_library(source, symbol)
    if isinstance(library, NoCompiler):
        raise library
    return library


@once
def try_load_library(source: str, symbol: str) -> ctypes.CDLL | NoCompiler:
    """The library of a source, or why there is none.

    A failure is remembered as well, so that steps do not wait for a failing compiler again.
    """
    try:
        return _find_or_compile(source, symbol)
    except NoCompiler as error:
        return error
    except (OSError, subprocess.SubprocessError) as error:
        # a full disk, a program that cannot be run, no folder at all
        return NoCompiler(str(error))


def _find_or_compile(source: str, symbol: str) -> ctypes.CDLL:
    cc = find_compiler()
    if cc is None:
        raise NoCompiler("there is no C compiler on the path")
    parts = (source, cc, compiler_version(cc), *FLAGS, str(MACHINE_FLAGS), processor())
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    path = cache_folder() / f"{key[:32]}.so"
    if is_complete(path):
        try:
            return open_library(path, symbol)
        except (OSError, AttributeError):
            path.unlink(missing_ok=True)
    return compile_library(cc, source, symbol, path)


def open_library(path: Path, symbol: str) -> ctypes.CDLL:
    """Open a library that has a function.

    Raises:
        OSError: it cannot be loaded, as from a file system mounted noexec.
        AttributeError: it lacks the function.
    """
    library = ctypes.CDLL(str(path))
    getattr(library, symbol)
    return library


@once
def compiler_version(cc: str) -> str:
    """The compiler's output for --version."""
    return run_program([cc, "--version"], VERSION_TIMEOUT_S)[1]


def run_program(command: list[str], timeout_s: float) -> tuple[int, str, str]:
    """Run a program and its children: (exit code, output, errors).

    Raises:
        OSError: it cannot be run.
        subprocess.TimeoutExpired: it took longer than `timeout_s` seconds, and was killed.
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
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            _kill_with_children(process)
            raise
    return process.returncode, out, err


def _kill_with_children(process: subprocess.Popen) -> None:
    """Kill a process and its children, which would keep its pipes open."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


@once
def processor() -> str:
    """A description of the processor: code is compiled for it alone, and machines may share a home."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    keys = ("model name", "flags", "Features", "CPU part")
    return "\n".join(line for line in lines if line.startswith(keys))


def is_complete(path: Path) -> bool:
    """Whether a library of this user is at path, as it was written: its last bytes are a digest of
    the rest.
    """
    try:
        content = read_private(path)
    except OSError:
        return False
    return len(content) > 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]


def compile_library(cc: str, source: str, symbol: str, path: Path) -> ctypes.CDLL:
    """Compile a source into a library at path, with the first flags whose library can be loaded.

    Raises:
        NoCompiler: no flags work.
    """
    reason = "nothing"
    with tempfile.TemporaryDirectory(dir=path.parent, ignore_cleanup_errors=True) as build_folder:
        text, library = Path(build_folder) / "step.c", Path(build_folder) / "step.so"
        text.write_text(source)
        for flags in MACHINE_FLAGS:
            command = [cc, *FLAGS, *flags, str(text), "-o", str(library), "-lm"]
            code, _, err = run_program(command, COMPILE_TIMEOUT_S)
            if code != 0:
                reason = (err.strip() or reason).splitlines()[0]
                continue
            try:
                _seal(library)
                # opened before it is renamed: a library that cannot be loaded is not kept
                opened = open_library(library, symbol)
            except (OSError, AttributeError) as error:
                reason = str(error)
                continue
            os.replace(library, path)
            return opened
    raise NoCompiler(f"{cc} says {reason}")


def _seal(library: Path) -> None:
    """Append a library's digest, and make it private."""
    content = library.read_bytes()
    library.write_bytes(content + hashlib.sha256(content).digest())
    library.chmod(0o700)
