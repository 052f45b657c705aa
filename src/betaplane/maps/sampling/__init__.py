"""Choose which cells of a map to train, and infer the verdicts of the others."""
