"""Origin: where a problem was loaded from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Origin:
    """The reference that a problem was loaded by; another process loads its functions by it."""

    reference: str  # the argument of `betaplane.load`
    # `contents.contents` of the problem when it was loaded
    contents: Mapping[str, Any] = field(repr=False)
