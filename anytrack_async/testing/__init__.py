"""Help for testing with this library, and contract suites for what plugs into it."""
