"""The oldest supported releases: one place states them, the README repeats them, and the script
tests them.
"""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def script():
    spec = importlib.util.spec_from_file_location("floors", ROOT / "tools" / "floors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_tests_the_oldest_releases_of_pyproject() -> None:
    assert script().oldest_releases() == ["torch==2.10.*", "numpy==1.26.*"]


def test_the_readme_states_the_oldest_release_of_torch() -> None:
    assert "Python 3.11 and torch 2.10 or newer" in (ROOT / "README.md").read_text()


def test_a_missing_python_is_skipped_with_a_sentence() -> None:
    assert list(script().runs("3.0")) == ["Python 3.0: skipped, it is not installed here."]


def test_the_files_of_core_exist() -> None:
    assert all((ROOT / path).exists() for path in script().CORE)
