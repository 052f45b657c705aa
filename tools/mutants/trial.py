"""Run the tests that execute a mutant, in a child that imports the mutated source in place of the
file.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tools.mutants.executions import OPTIONS, ROOT
from tools.mutants.mutations import Mutant


class MutantFinder:
    """Finds one module and gives it other source than its file's."""

    def __init__(self, module: str, path: str, source: str) -> None:
        self.module, self.path, self.source = module, path, source

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        """The spec of the mutated module; None for all others."""
        if name != self.module:
            return None
        return importlib.util.spec_from_file_location(
            name, self.path, loader=_Loader(name, self.path, self.source)
        )


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self.mutated = source

    def get_code(self, fullname: str) -> Any:
        return compile(self.mutated, self.path, "exec", dont_inherit=True)

    def get_source(self, fullname: str) -> str:
        return self.mutated


class Chosen:
    """A pytest plugin that runs some tests in a given order and notes the first that fails."""

    def __init__(self, order: Sequence[str]) -> None:
        self.order = {name: i for i, name in enumerate(order)}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep what was chosen; a doctest may appear twice."""
        items[:] = sorted(
            (i for i in items if i.nodeid in self.order), key=lambda item: self.order[item.nodeid]
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that cannot be imported."""
        if report.failed:
            self.failed = self.failed or report.nodeid or "import"


def trial(mutant: Mutant, source: str, tests: Sequence[str]) -> str:
    """The first test that fails with the mutated source; "" if all pass."""
    name = (
        mutant.file.removeprefix("src/")
        .removesuffix(".py")
        .replace("/", ".")
        .removesuffix(".__init__")
    )
    sys.meta_path.insert(0, MutantFinder(name, str(ROOT / mutant.file), source))  # type: ignore[arg-type]
    os.environ["HYPOTHESIS_DATABASE"] = "off"
    chosen = Chosen(tests)
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    code = pytest.main([*OPTIONS, "-x", *files], plugins=[chosen])
    return chosen.failed or ("" if code == pytest.ExitCode.OK else f"exit code {code}")
