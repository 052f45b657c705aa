"""Records of the last steps of a few elements per tensor."""
