"""The experiments: one published claim per module."""
