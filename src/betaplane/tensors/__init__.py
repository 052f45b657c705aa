"""What several packages need to know about tensors: sharding, memory layout and parameter names."""
