"""The result of `advise`: recommendations, candidates, warnings, and lines of PyTorch to paste."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from betaplane.advice.evidence import Source
from betaplane.advice.recommendation import Candidate, Recommendation, rounded


@dataclass(frozen=True)
class Advice:
    """Settings with their reasons; prints as text of 80 columns and as a table in notebooks."""

    about: str  # a description of the run
    rows: tuple[Recommendation, ...]
    # the value that each source would set, by hyperparameter
    candidates: Mapping[str, tuple[Candidate, ...]]
    warnings: tuple[str, ...]
    sources: Mapping[str, Source]  # the sources that the rows name

    def __getitem__(self, name: str) -> Recommendation:
        """The recommendation for a hyperparameter."""
        return {row.name: row for row in self.rows}[name]

    @property
    def settings(self) -> dict[str, Any]:
        """lr, betas, eps and weight_decay as arguments of AdamW, rounded as they are printed."""
        lr, beta1, beta2, eps, decay = (
            rounded(name, float(self[name].value))
            for name in ("lr", "beta1", "beta2", "eps", "weight_decay")
        )
        return {"lr": lr, "betas": (beta1, beta2), "eps": eps, "weight_decay": decay}

    @property
    def lines(self) -> tuple[str, str]:
        """Calls of betaplane.AdamW and torch.optim.AdamW; torch's cannot clip updates."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        clip = self["update clipping"].value
        clipped = f"{arguments}, clip={clip!r}" if isinstance(clip, float) else arguments
        return (
            f"betaplane.AdamW(model.parameters(), {clipped})",
            f"torch.optim.AdamW(model.parameters(), {arguments})",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "about": self.about,
            "rows": [{**asdict(row), "text": row.text} for row in self.rows],
            "candidates": {
                name: [asdict(candidate) for candidate in candidates]
                for name, candidates in self.candidates.items()
                if candidates
            },
            "warnings": list(self.warnings),
            "settings": {**self.settings, "betas": list(self.settings["betas"])},
            "lines": list(self.lines),
            "sources": {name: asdict(source) for name, source in self.sources.items()},
        }

    def __str__(self) -> str:
        from betaplane.advice.render import text

        return text(self)

    def _repr_html_(self) -> str:
        from betaplane.advice.render import html

        return html(self)
