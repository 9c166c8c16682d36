"""Programs for maintainers, e.g. such that make the documentation; nothing is installed."""
