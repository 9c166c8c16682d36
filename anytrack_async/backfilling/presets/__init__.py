"""Presets: for each known kind of file a table of its columns, in a module of its own."""
