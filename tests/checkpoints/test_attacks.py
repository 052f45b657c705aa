"""Damaged and malicious files: a sentence or the values that were written, in bounded time and
memory, nothing run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from attacks import MEGABYTES, SECONDS

SCRIPT = Path(__file__).with_name("attacks.py")
WHOLE = [pytest.mark.slow]


@pytest.mark.parametrize(
    ("kind", "count", "seed"),
    [
        ("damaged", 100, 1),
        ("malicious", 20, 1),
        ("gradients", 80, 1),
        pytest.param("damaged", 600, 2, marks=WHOLE),
        pytest.param("malicious", 100, 2, marks=WHOLE),
        pytest.param("gradients", 200, 2, marks=WHOLE),
    ],
)
def test_files_do_no_harm(kind: str, count: int, seed: int, tmp_path: Path):
    """In a process of their own, whose peak of memory is theirs."""
    words = [
        sys.executable,
        "-W",
        "ignore",
        str(SCRIPT),
        kind,
        str(count),
        str(seed),
        str(tmp_path),
    ]
    found = subprocess.run(words, capture_output=True, text=True, timeout=500, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    report = json.loads(found.stdout)
    print(report)
    assert report["faults"] == []
    assert sum(report["outcomes"].values()) == report["files"] == count
    assert report["outcomes"]["refused"] > count / 2
    assert report["seconds"][0] < SECONDS
    assert report["megabytes"][0] < MEGABYTES
