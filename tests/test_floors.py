"""The oldest supported releases: one place states them, the README repeats them, and the script
tests them.
"""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def floors():
    spec = importlib.util.spec_from_file_location("floors", ROOT / "tools" / "floors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_tests_the_floors_that_pyproject_states() -> None:
    assert floors().floors() == ["torch==2.10.*", "numpy==1.26.*"]


def test_the_readme_states_the_floor_of_torch() -> None:
    assert "Python 3.11 and torch 2.10 or newer" in (ROOT / "README.md").read_text()


def test_a_python_that_is_missing_is_skipped_with_a_sentence() -> None:
    assert list(floors().runs("3.0")) == ["Python 3.0: skipped, it is not installed here."]


def test_the_core_exists() -> None:
    assert all((ROOT / path).exists() for path in floors().CORE)
