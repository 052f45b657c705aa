"""The sentence for a package that is not installed."""

from __future__ import annotations

from betaplane.errors import BadInput


def missing_package(package: str, extra: str) -> BadInput:
    """The error for a package that an extra of betaplane installs.

    Example:
        >>> print(missing_package("optuna", "optuna"))
        optuna is not installed (import). Try: pip install "betaplane[optuna]"
    """
    return BadInput(
        f"{package} is not installed", where="import", instead=f'pip install "betaplane[{extra}]"'
    )
