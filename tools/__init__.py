"""Programs that make parts of the documentation; nothing here is installed."""
