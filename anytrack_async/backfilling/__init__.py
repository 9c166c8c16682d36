"""Back-filling: conversions from files and databases into a client. The function is `backfill`."""
