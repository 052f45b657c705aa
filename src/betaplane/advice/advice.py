"""The advice itself: its rows, what every source would set, warnings, and lines of PyTorch to
paste.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from betaplane.advice.evidence import Source
from betaplane.advice.recommendation import Candidate, Recommendation, rounded


@dataclass(frozen=True)
class Advice:
    """Settings with their reasons; prints itself in 80 columns, shows itself in notebooks."""

    about: str  # the run, in words
    rows: tuple[Recommendation, ...]
    # what every source would set, by the row's name
    candidates: Mapping[str, tuple[Candidate, ...]]
    warnings: tuple[str, ...]
    sources: Mapping[str, Source]  # those the rows name

    def __getitem__(self, name: str) -> Recommendation:
        """The row of that name."""
        return {row.name: row for row in self.rows}[name]

    @property
    def settings(self) -> dict[str, Any]:
        """lr, betas, eps and weight_decay as AdamW takes them, rounded as they are printed."""
        lr, beta1, beta2, eps, decay = (
            rounded(name, float(self[name].value))
            for name in ("lr", "beta1", "beta2", "eps", "weight_decay")
        )
        return {"lr": lr, "betas": (beta1, beta2), "eps": eps, "weight_decay": decay}

    @property
    def lines(self) -> tuple[str, str]:
        """The optimizer in PyTorch, as betaplane and as torch have it; torch's cannot clip updates."""
        written = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        clip = self["update clipping"].value
        clipped = f"{written}, clip={clip!r}" if isinstance(clip, float) else written
        return (
            f"betaplane.AdamW(model.parameters(), {clipped})",
            f"torch.optim.AdamW(model.parameters(), {written})",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "about": self.about,
            "rows": [{**asdict(row), "text": row.text} for row in self.rows],
            "candidates": {
                name: [asdict(one) for one in held]
                for name, held in self.candidates.items()
                if held
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
