"""Steps of sharded parameters (torch's DTensor)."""
