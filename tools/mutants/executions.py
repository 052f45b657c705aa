"""Which tests execute which functions, recorded once per test file and kept by content."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tools.mutants.forked import in_child

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "betaplane"
KEPT = ROOT / ".mutants"


class Recorder:
    """A pytest plugin that notes, for each test that passes, its CPU time and the functions it
    enters.
    """

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, Any]] = {}
        self.failed: set[str] = set()
        self.entered: set[CodeType] = set()  # since the test or the shared fixture began
        self.shared: dict[str, set[CodeType]] = {}  # by fixtures that outlive a test

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """Trace calls during one test."""
        self.entered = set()

        def trace(frame: Any, event: str, arg: object) -> None:
            self.entered.add(frame.f_code)

        before = time.process_time(), time.perf_counter()
        threading.settrace(trace)
        sys.settrace(trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
            cpu, wall = time.process_time() - before[0], time.perf_counter() - before[1]
            entered = self.entered.union(*(self.shared.get(name, ()) for name in item.fixturenames))  # type: ignore
            functions = sorted({name for code in entered if (name := _function(code))})
            self.tests[item.nodeid] = {
                "seconds": round(max(cpu, wall / 4), 3),
                "functions": functions,
            }

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Any:
        """Credit what a fixture of a module executes to every test that takes it."""
        if fixturedef.scope == "function":
            return (yield)
        outer, self.entered = self.entered, set()
        try:
            return (yield)
        finally:
            self.shared.setdefault(fixturedef.argname, set()).update(self.entered)
            self.entered |= outer

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Forget tests that fail or are skipped without any mutant."""
        if not report.passed:
            self.failed.add(report.nodeid)


def _function(code: CodeType) -> str:
    """ "maps/verdicts.py:recommend" of a function of the package, the outermost; "" of others."""
    path = code.co_filename
    if not path.startswith(str(PACKAGE)):
        return ""
    return f"{path[len(str(PACKAGE)) + 1 :]}:{code.co_qualname.partition('.<locals>')[0]}"


def executions(files: list[str], *, stale: bool = False) -> dict[str, dict[str, Any]]:
    """Every passing test of some files: {nodeid: {"seconds": CPU, "functions":
    ["maps/verdicts.py:recommend", ...]}}.

    A file's record is kept under .mutants/ and made again if any source file or the test's folder changes; with
    `stale`, only if the test's folder changes.
    """
    found = {}
    for file in files:
        found |= _of_file(file, stale)
    return found


def _of_file(file: str, stale: bool) -> dict[str, dict[str, Any]]:
    kept = KEPT / f"{file.replace('/', '+')}.json"
    digest = _digest(file, stale)
    record = json.loads(kept.read_text()) if kept.exists() else {}
    if record.get("stale" if stale else "digest") != digest:
        print(f"recording {file}", file=sys.stderr, flush=True)
        tests = in_child(lambda: _recorded(file), limit=1800)
        if not tests:
            raise RuntimeError(f"{file} has no test that passes")
        record = {"digest": _digest(file, False), "stale": _digest(file, True), "tests": tests}
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(record))
    return record["tests"]


def _digest(file: str, stale: bool) -> str:
    paths = [] if stale else sorted(PACKAGE.rglob("*.py"))
    if not file.startswith("src/"):
        paths += [
            ROOT / file,
            *(
                path
                for path in sorted((ROOT / file).parent.glob("*.py"))
                if path.name[:5] != "test_"
            ),
        ]
    elif stale:
        paths.append(ROOT / file)
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def _recorded(file: str) -> dict[str, dict[str, Any]]:
    recorder = Recorder()
    pytest.main([*OPTIONS, file], plugins=[recorder])
    return {name: test for name, test in recorder.tests.items() if name not in recorder.failed}


# the latter collect garbage for long
QUICK = ["no:cacheprovider", "no:unraisableexception", "no:threadexception"]
OPTIONS = [
    "-q",
    "--assert=plain",
    "--no-header",
    "--tb=no",
    *(word for name in QUICK for word in ("-p", name)),
]
