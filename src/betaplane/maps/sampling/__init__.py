"""Choose which cells to train next, and infer the verdicts of the others."""
