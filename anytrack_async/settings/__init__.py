"""Settings: frozen, checked in their constructors, free of I/O; secrets have a redacted `repr`."""
