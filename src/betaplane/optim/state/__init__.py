"""Load, validate and convert optimizer state."""
