"""Mutation testing: change one decision of the package and see whether a test fails."""
