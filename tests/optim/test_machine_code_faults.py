"""Compiler, cache folder and loader that fail, for real: steps are eager with one warning, or code
is built again.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import betaplane
from betaplane.optim.codegen import availability, build
from betaplane.optim.codegen.cache_folder import cache_folder
from betaplane.optim.codegen.compiled_step import compile_step

SOURCES = Path(betaplane.__file__).parents[1]
Steps = Callable[..., tuple[float, int, str]]
Mount = Callable[[str], Path]


def three_steps() -> tuple[float, int, str]:
    """Three compiled steps: the sum of the weights, the number of warnings, the path that was taken
    and why.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        p = torch.nn.Parameter(torch.linspace(-1, 1, 5000))
        optimizer = betaplane.Lion([p], path="compiled", max_norm=1.0, lr=0.1)
        for step in range(3):
            p.grad = torch.sin(torch.arange(5000.0) * (step + 1))
            optimizer.step()
    count = len([one for one in caught if "cannot compile" in str(one.message)])
    return (
        p.detach().double().sum().item(),
        count,
        " ".join(
            [
                "eager" if availability.COMPILE_FAILURES else "compiled",
                *availability.COMPILE_FAILURES,
            ]
        ),
    )


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    """Take steps in an environment, with nothing remembered from before; None removes a variable."""
    monkeypatch.setattr(availability, "COMPILE_FAILURES", before := availability.COMPILE_FAILURES)
    kept = list(before)

    def taken(seconds: float = 60, **environment: str | None) -> tuple[float, int, str]:
        for name, value in environment.items():
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(
                name, value
            )
        monkeypatch.setattr(build, "COMPILE_TIMEOUT_S", seconds)
        monkeypatch.setattr(build, "VERSION_TIMEOUT_S", seconds)
        monkeypatch.setattr(tempfile, "tempdir", None)
        forget()
        before.clear()
        return three_steps()

    yield taken
    monkeypatch.undo()
    before[:] = kept
    forget()


def forget() -> None:
    for remembered in (
        cache_folder,
        build.try_load_library,
        compile_step,
        build.compiler_version,
    ):
        remembered.cache_clear()


def libraries(folder: Path) -> list[Path]:
    return sorted(folder.glob("**/*.so"))


@pytest.fixture
def right(steps: Steps, tmp_path_factory: pytest.TempPathFactory) -> float:
    """What the steps come to, and that they are compiled if all is well."""
    home = tmp_path_factory.mktemp("right")
    value, warned, how = steps(XDG_CACHE_HOME=str(home))
    assert (warned, how) == (0, "compiled")
    assert libraries(home)
    return value


def script(folder: Path, text: str) -> str:
    file = folder / "cc"
    file.write_text(text)
    file.chmod(0o755)
    return str(file)


REAL = (
    "gcc"
    if any((Path(place) / "gcc").exists() for place in os.environ["PATH"].split(":"))
    else "cc"
)
COMPILERS = {
    "a text file": "not a program\n",
    "says yes and writes nothing": "#!/bin/sh\nexit 0\n",
    "fails": "#!/bin/sh\necho broken >&2\nexit 1\n",
    "hangs": "#!/bin/sh\nsleep 300\n",
    "hangs once it compiles": "#!/bin/sh\n[ $1 = --version ] || sleep 300\n",
    "says binary": "#!/bin/sh\nhead -c 300 /dev/urandom\nexit 1\n",
    "writes an empty library": '#!/bin/sh\nfor a in "$@"; do case $a in *.so) : > $a;; esac; done\n',
    "writes a library without the function": f"#!/bin/sh\n[ $1 = --version ] && exit 0\n"
    f'for a in "$@"; do case $a in *.so) echo "int other;" | {REAL} -shared -fPIC -xc - -o $a;; esac; done\n',
}


@pytest.mark.parametrize("text", COMPILERS.values(), ids=COMPILERS)
def test_a_compiler_that_fails_leaves_eager_steps(
    text: str, tmp_path: Path, right: float, steps: Steps
) -> None:
    cc, seconds = script(tmp_path, text), 0.5 if "sleep" in text else 20
    value, warned, how = steps(CC=cc, XDG_CACHE_HOME=str(tmp_path), seconds=seconds)
    assert value == pytest.approx(right, abs=1e-4)
    assert (warned, how[:6]) == (1, "eager ")
    assert not libraries(tmp_path)


def test_without_any_compiler_steps_are_eager(tmp_path: Path, right: float, steps: Steps) -> None:
    value, warned, how = steps(CC=None, PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert (warned, how) == (1, "eager there is no C compiler on the path")
    assert value == pytest.approx(right, abs=1e-4)


def rewritten(file: Path, content: bytes) -> None:
    """Another file in its place: this process has the old one in memory."""
    file.unlink()
    file.write_bytes(content)


def emptied(file: Path) -> None:
    rewritten(file, b"")


def truncated(file: Path) -> None:
    rewritten(file, file.read_bytes()[:-100])


def linked(file: Path) -> None:
    other = file.with_name("other")
    file.rename(other)
    file.symlink_to(other)


def writable(file: Path) -> None:
    file.chmod(0o722)


def without_the_function(file: Path) -> None:
    """Sealed, as one that this package wrote."""
    file.unlink()
    subprocess.run(
        [REAL, "-shared", "-fPIC", "-xc", "-", "-o", str(file)], input=b"int other;", check=True
    )
    build._seal(file)


@pytest.mark.parametrize("damage", [emptied, truncated, linked, writable, without_the_function])
def test_a_damaged_library_is_built_again_and_does_not_stay(
    damage: Callable[[Path], None], tmp_path: Path, right: float, steps: Steps
) -> None:
    steps(XDG_CACHE_HOME=str(tmp_path))
    for file in libraries(tmp_path):
        damage(file)
    assert steps(XDG_CACHE_HOME=str(tmp_path)) == (right, 0, "compiled")
    for file in libraries(tmp_path):
        found = file.lstat()
        assert stat.S_ISREG(found.st_mode)
        assert not found.st_mode & 0o022
        assert found.st_size > 5000


def open_folder(home: Path) -> None:
    (home / "betaplane").mkdir()
    (home / "betaplane").chmod(0o777)


def open_parent(home: Path) -> None:
    (home / "betaplane").mkdir(mode=0o700)
    home.chmod(0o775)


def link_into_an_open_folder(home: Path) -> None:
    (home / "open").mkdir()
    (home / "open").chmod(0o777)
    (home / "open" / "betaplane").mkdir(mode=0o700)
    (home / "betaplane").symlink_to(home / "open" / "betaplane")


def a_file_in_its_place(home: Path) -> None:
    (home / "betaplane").write_text("")


def anothers(home: Path) -> None:
    (home / "betaplane").mkdir(mode=0o755)
    os.chown(home / "betaplane", 12345, 12345)


def anothers_parent(home: Path) -> None:
    (home / "betaplane").mkdir(mode=0o700)
    os.chown(home, 12345, 12345)


AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
FOLDERS = [
    open_folder,
    open_parent,
    link_into_an_open_folder,
    a_file_in_its_place,
    pytest.param(anothers, marks=AS_ROOT),
    pytest.param(anothers_parent, marks=AS_ROOT),
]


@pytest.mark.parametrize("prepare", FOLDERS)
def test_a_folder_that_others_can_write_is_not_used(
    prepare: Callable[[Path], None], tmp_path: Path, right: float, steps: Steps
) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    prepare(home)
    assert steps(XDG_CACHE_HOME=str(home), TMPDIR=str(temporary)) == (right, 0, "compiled")
    assert not libraries(home)


EXIT = """
import os, sys
from betaplane.optim.codegen import build, cache_folder
if len(sys.argv) > 1:
    os.setgroups([])
    os.setgid(int(sys.argv[1]))
    os.setuid(int(sys.argv[1]))
build.load_library("double answer(void) { return 42; }", "answer")
print(cache_folder.cache_folder())
"""


def finished(*uid: str, **environment: str | None) -> Path:
    """The folder that a process of its own built a library in, as another user if there is one."""
    given = {**os.environ, "PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1", **environment}
    env = {name: value for name, value in given.items() if value is not None}
    run = subprocess.run(
        [sys.executable, "-c", EXIT, *uid], capture_output=True, text=True, env=env, timeout=100
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return Path(run.stdout.strip())


def test_a_temporary_folder_is_removed_at_exit(tmp_path: Path) -> None:
    open_folder(tmp_path)
    place = finished(XDG_CACHE_HOME=str(tmp_path), TMPDIR=str(tmp_path))
    assert place.parent == tmp_path
    assert not place.exists()


def test_a_planted_library_is_not_loaded(tmp_path: Path, right: float, steps: Steps) -> None:
    """Anyone who can write to the folder can seal a library, since the digest is no secret."""
    steps(XDG_CACHE_HOME=str(tmp_path))
    for file in libraries(tmp_path):
        without_the_function(file)
    (tmp_path / "betaplane").chmod(0o777)
    before = {file: file.read_bytes() for file in libraries(tmp_path)}
    assert steps(XDG_CACHE_HOME=str(tmp_path)) == (right, 0, "compiled")
    assert {file: file.read_bytes() for file in libraries(tmp_path)} == before


def test_new_folders_are_this_users_alone_whatever_the_umask(
    tmp_path: Path, right: float, steps: Steps
) -> None:
    before = os.umask(0)
    try:
        assert steps(XDG_CACHE_HOME=str(tmp_path / "a" / "b")) == (right, 0, "compiled")
    finally:
        os.umask(before)
    made = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
    assert {one.lstat().st_mode & 0o777 for one in made} == {0o700}


def test_a_relative_cache_home_is_ignored(tmp_path: Path, right: float, steps: Steps) -> None:
    assert steps(XDG_CACHE_HOME="relative", HOME=str(tmp_path)) == (right, 0, "compiled")
    assert libraries(tmp_path / ".cache" / "betaplane")


def nameless() -> str:
    """A user without an entry in passwd."""
    known = {entry.pw_uid for entry in pwd.getpwall()}
    return str(next(uid for uid in range(54321, 60000) if uid not in known))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_user_without_home_and_name_has_a_temporary_folder() -> None:
    place = finished(
        nameless(), HOME=None, XDG_CACHE_HOME=None, USER=None, LOGNAME=None, TMPDIR="/tmp"
    )
    assert place.parent == Path("/tmp")
    assert not place.exists()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mount]:
    """Mount a tmpfs with options."""
    places = []

    def mount(options: str) -> Path:
        place = tmp_path / "mounted"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True
        )
        if done.returncode != 0:
            pytest.skip("tmpfs cannot be mounted here")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_file_system_without_execution_leaves_eager_steps(
    mounted: Mount, right: float, steps: Steps
) -> None:
    home = mounted("noexec,mode=700")
    value, warned, how = steps(XDG_CACHE_HOME=str(home))
    assert (warned, how[:6]) == (1, "eager ")
    assert value == pytest.approx(right, abs=1e-4)
    assert not libraries(home)


def test_a_full_disk_leaves_eager_steps(mounted: Mount, right: float, steps: Steps) -> None:
    home = mounted("size=16k,mode=700")
    value, warned, how = steps(XDG_CACHE_HOME=str(home))
    assert (warned, how[:6]) == (1, "eager ")
    assert value == pytest.approx(right, abs=1e-4)
    assert not libraries(home)


def test_a_file_system_that_is_read_only_has_a_temporary_folder(
    mounted: Mount, right: float, steps: Steps
) -> None:
    assert steps(XDG_CACHE_HOME=str(mounted("ro,mode=700"))) == (right, 0, "compiled")
