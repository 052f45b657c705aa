"""Find where Adam converges on your problem."""
