"""Speed, paired with peers in one run. `python -m benchmarks` runs them all."""
