"""The console: the state of every delivery, in a browser."""
