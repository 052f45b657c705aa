"""The SQLite store of finished runs."""
