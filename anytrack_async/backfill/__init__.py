"""Back-fill: conversions from files and databases, with settings, rejects and a report."""
