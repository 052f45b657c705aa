"""The command line: one command per file; each parses its options and calls the library."""
