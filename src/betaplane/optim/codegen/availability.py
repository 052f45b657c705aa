"""Whether this machine can compile steps: the reasons it cannot, and one warning."""

from __future__ import annotations

import warnings

COMPILE_FAILURES: list[str] = []  # why compiling failed in this process; empty if it did not


def record_failure(reason: str) -> None:
    """Remember that this machine cannot compile, and warn once.

    Args:
        reason: the compiler's first line of output, or what is missing.
    """
    if COMPILE_FAILURES:
        return
    COMPILE_FAILURES.append(reason)
    warnings.warn(
        f"This machine cannot compile ({reason}): steps are eager, and slower.", stacklevel=7
    )
