"""Results of claims in a folder, one JSON file per claim, so that a run can be resumed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from betaplane.claims.claim import Claim
from betaplane.claims.result import Result, digest, shipped
from betaplane.errors import BadInput

LIST = re.compile(r"\[[^\[\]{}]*\]")  # without a list or an object in it


class ClaimStore:
    """A folder of results.

    Args:
        folder: the folder; it is made when the first result is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """The file of a claim."""
        return self.folder / f"{name}.json"

    def save(self, result: Result) -> None:
        """Write a result as a whole, so that no reader sees half of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(result.claim)
        part = path.with_suffix(".part")
        part.write_text(result_text(result), encoding="utf-8")
        os.replace(part, path)

    def load(self, name: str) -> Result | None:
        """The result of a claim, or None if there is none.

        Raises:
            BadInput: the file is not a result.
        """
        path = self.path(name)
        if not path.exists():
            return None
        try:
            return Result.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadInput(
                "The file is not the result of a claim",
                value=str(path),
                allowed="a file that `betaplane claims run` wrote",
                instead=f"rm {path}",
            ) from error

    def finished(self, claim: Claim, sizes: Sequence[float] = ()) -> Result | None:
        """The stored result, if it is of this experiment at these sizes."""
        result = self.load(claim.name)
        wanted = tuple(sizes) or claim.sizes
        if result is None or result.sizes != wanted or result.seeds != claim.seeds:
            return None
        return result if result.made_with["experiment"] == digest(claim) else None


def result_text(result: Result) -> str:
    """The result as JSON, with each list of numbers on one line."""
    text = json.dumps(result.to_dict(), indent=1)
    return LIST.sub(lambda match: " ".join(match[0].split()), text) + "\n"


def latest(claim: Claim, store: ClaimStore | None) -> Result | None:
    """The result in the store, or else the one that the package contains."""
    stored = None if store is None else store.load(claim.name)
    return shipped(claim.name) if stored is None else stored
