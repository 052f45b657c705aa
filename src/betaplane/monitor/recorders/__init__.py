"""Fixed-size recordings of a run's last steps."""
