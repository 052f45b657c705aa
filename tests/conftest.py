"""One thread for every test: two threads on busy cores are many times slower than one."""

import ctypes
from collections.abc import Iterator

import pytest
import torch

torch.set_num_threads(1)
try:
    release_memory = ctypes.CDLL(None).malloc_trim
except (AttributeError, OSError):  # not glibc
    release_memory = None


@pytest.fixture(autouse=True, scope="module")
def _free_memory() -> Iterator[None]:
    """Return to the system what a module's tests freed: two workers must fit in a few gigabytes."""
    yield
    if release_memory is not None:
        release_memory(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow tests may take their time."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(0))
