"""The health of a real run's optimizer: what its moments say, live or in a checkpoint on disk."""
