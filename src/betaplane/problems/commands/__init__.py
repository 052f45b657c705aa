"""A command as a problem: start it, follow its losses while it runs, and end it."""
