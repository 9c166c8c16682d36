"""Models of conversions and results: frozen, keyword-only, checked in the constructor."""
