"""Import runs of a finished sweep into a store."""
