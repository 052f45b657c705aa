"""The result of a claim: what was measured, and with which code, versions and seeds."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from betaplane.claims.claim import Claim
from betaplane.claims.figure import Panel, Table, panel_from, to_data
from betaplane.claims.lab import Alter, Lab, unaltered
from betaplane.claims.measured import Measured
from betaplane.claims.verdict import Verdict, judge


@dataclass(frozen=True)
class Result:
    """What running a claim gives."""

    claim: str
    sizes: tuple[float, ...]
    seeds: int
    measured: dict[str, Measured]
    panels: tuple[Panel, ...]
    tables: tuple[Table, ...]
    seconds: float
    made_with: dict[str, str]  # versions, the commit and the digest of the claim's file

    def verdict(self, claim: Claim) -> Verdict:
        """The verdict of the claim's rule."""
        return judge(claim.rule(self.sizes), self.measured)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data; numbers that are not finite are strings."""
        measured = {name: _data(quantity) for name, quantity in self.measured.items()}
        return asdict(self) | {
            "measured": measured,
            "panels": [to_data(panel) for panel in self.panels],
            "tables": [to_data(table) for table in self.tables],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Result:
        """The inverse of `to_dict`."""
        measured = {
            name: Measured(**{**each, "values": tuple(float(v) for v in each["values"])})
            for name, each in data["measured"].items()
        }
        return cls(
            **{
                **data,
                "sizes": tuple(data["sizes"]),
                "measured": measured,
                "panels": tuple(panel_from(panel) for panel in data["panels"]),
                "tables": tuple(Table(**table) for table in data["tables"]),
            }
        )


def _data(quantity: Measured) -> dict[str, Any]:
    values = [value if math.isfinite(value) else str(value) for value in quantity.values]
    return asdict(quantity) | {"values": values}


def run_claim(
    claim: Claim,
    sizes: Sequence[float] = (),
    alter: Alter = unaltered,
    report: Any = lambda text: None,
) -> Result:
    """Run the experiment of a claim.

    Args:
        claim: the claim.
        sizes: the sizes to measure at; by default the claim's own.
        alter: replaces every rule before it is used, as a test with a wrong optimizer does.
        report: report(text) is called as the experiment proceeds.
    """
    lab = Lab(claim, sizes, alter, report)
    start = time.perf_counter()
    claim.measure(lab)
    seconds = round(time.perf_counter() - start, 2)
    return Result(
        claim.name,
        lab.sizes,
        claim.seeds,
        lab.measured,
        tuple(lab.panels),
        tuple(lab.tables),
        seconds,
        made_with(claim),
    )


def made_with(claim: Claim) -> dict[str, str]:
    """The versions that a result depends on."""
    import torch

    from betaplane import __version__

    return {
        "betaplane": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "commit": _commit(),
        "experiment": digest(claim),
    }


def _commit() -> str:
    """The commit of the checkout that this package lies in; "" if it is not in one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def digest(claim: Claim) -> str:
    """Eight digits of the hash of the claim's experiment; a result of another one is outdated."""
    code = claim.measure.__code__
    path = Path(code.co_filename)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def shipped(name: str) -> Result | None:
    """The result that the package contains, or None."""
    path = files("betaplane.claims").joinpath("results").joinpath(f"{name}.json")
    if not path.is_file():
        return None
    return Result.from_dict(json.loads(path.read_text(encoding="utf-8")))
