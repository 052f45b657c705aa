"""Machine code on disk: made once, never loaded half-written, never waited for; and its memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

import betaplane.optim
from betaplane.optim import dispatch
from betaplane.optim.codegen import build
from betaplane.optim.codegen.build import NoCompiler
from betaplane.optim.codegen.cache_folder import cache_folder
from betaplane.optim.codegen.compiled_step import compile_step, sum_of_squares

SOURCE = "double answer(void) { return 42; }"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own, and nothing remembered from before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for remembered in (cache_folder, build.try_load_library, compile_step):
        remembered.cache_clear()
    yield tmp_path / "betaplane"
    for remembered in (cache_folder, build.try_load_library, compile_step):
        remembered.cache_clear()


def answer() -> float:
    call = build.load_library(SOURCE, "answer").answer
    call.restype = build.ctypes.c_double
    return call()


def test_it_is_made_once_and_found_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer() == 42
    build.try_load_library.cache_clear()
    monkeypatch.setattr(build, "compile_library", lambda *_: pytest.fail("made again"))
    assert answer() == 42
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("left", [0, 20, 4000])
def test_a_broken_file_is_made_anew(cache: Path, left: int) -> None:
    build.load_library(SOURCE, "answer")
    (library,) = cache.iterdir()
    content = library.read_bytes()
    library.unlink()  # this process has the old one mapped
    library.write_bytes(content[:left])
    build.try_load_library.cache_clear()
    assert answer() == 42
    assert library.read_bytes() == content


def test_processes_that_make_it_at_the_same_time(cache: Path) -> None:
    code = f"from betaplane.optim.codegen import build; build.load_library({SOURCE!r}, 'answer')"
    children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [child.wait(120) for child in children] == [0, 0]
    assert [one.suffix for one in cache.iterdir()] == [".so"]


def test_a_killed_maker_is_not_waited_for(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "tmpabc").mkdir()
    (cache / "tmpabc" / "step.so").write_bytes(b"half")
    assert answer() == 42


def test_a_home_that_cannot_be_written(cache: Path) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file in its place")
    assert answer() == 42
    assert cache_folder() != cache


def test_a_compiler_that_fails_says_so(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(NoCompiler, match="error"):
        build.load_library("no C at all", "answer")
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nif [ $1 = --version ]; then echo slow; else sleep 60; fi\n")
    slow.chmod(0o700)
    monkeypatch.setenv("CC", str(slow))
    monkeypatch.setattr(build, "COMPILE_TIMEOUT_S", 1)
    with pytest.raises(NoCompiler, match="timed out"):
        build.load_library(SOURCE, "answer")
    assert not [one for one in cache.iterdir() if one.suffix == ".so"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_sums_of_sum_of_squares(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(n, dtype=dtype, generator=generator) for n in (0, 1, 16384, 50_001)]
    tensors.append(torch.randn(6, 8, dtype=dtype, generator=generator)[:, ::2])
    exact = sum(float(value.double().square().sum()) for value in tensors)
    assert sum_of_squares(tensors) == pytest.approx(
        exact, rel=1e-6 if dtype != torch.float64 else 1e-12
    )


def test_the_result_does_not_depend_on_the_threads() -> None:
    """Sums over a tensor are taken in the same order by every path."""
    ends = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        p = nn.Parameter(torch.linspace(-1, 1, 300_000))
        optimizer = betaplane.optim.StableAdamW([p], path="compiled", max_norm=1.0, storage="8bit")
        for step in range(3):
            p.grad = torch.sin(torch.arange(300_000.0) * (step + 1))
            optimizer.step()
        ends.append((p.detach().clone(), optimizer.norms))
        torch.set_num_threads(before)
    assert torch.equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]


MEMORY = """
import itertools, torch, betaplane
from betaplane.optim.codegen.availability import COMPILE_FAILURES
torch.set_num_threads(1)

def memory(word):
    return int(next(line for line in open("/proc/self/status") if line.startswith(word)).split()[1]) * 1024

def tensors(call):
    # the peak of what a call allocates for tensors, bytes
    with torch.profiler.profile(profile_memory=True) as profiler:
        call()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    sizes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return max(itertools.accumulate(sizes), default=0)

for kind, storage, how in {cases}:
    COMPILE_FAILURES[:] = ["asked for"] * (how == "eager")
    params = [torch.nn.Parameter(torch.zeros(rows, 2000)) for rows in (2000, 1000, 500)]
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer = getattr(betaplane, kind)(params, storage=storage)
    optimizer.step()
    optimizer.step()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forget the peak so far
    now = memory("VmRSS")
    optimizer.step()
    process = memory("VmHWM") - now  # 0 if the process kept enough of what earlier steps freed
    print(max(process, tensors(optimizer.step)) / 16e6)
"""
# kind, storage, how: how much more memory a step may take at its peak, in units of the largest
# parameter
CASES = {
    ("Lion", "parameter", "compiled"): 0.1,
    ("AdamW", "bfloat16", "compiled"): 0.1,
    ("AdamW", "8bit", "compiled"): 0.1,
    ("Lion", "parameter", "eager"): 1.0,
    ("Lion", "8bit", "eager"): 1.2,
}


@pytest.mark.skipif(not psutil.LINUX, reason="reads /proc")
def test_a_step_needs_little_memory() -> None:
    """Machine code none; operations one by one go through large tensors in pieces."""
    code = MEMORY.replace("{cases}", repr(list(CASES)))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    extra = dict(zip(CASES, map(float, run.stdout.split()), strict=True))
    assert not {case: most for case, most in extra.items() if most > CASES[case]}


def test_a_path_that_is_asked_for_is_taken_by_torchs_classes_too() -> None:
    p = nn.Parameter(torch.zeros(4))
    optimizer = betaplane.optim.AdamW([p], path="compiled")
    p.grad = torch.ones(4)
    optimizer.step()
    assert optimizer._compiled_groups[0].steps
    assert dispatch.PATHS == ("auto", "eager", "compiled")
