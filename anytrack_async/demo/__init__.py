"""`anytrack demo`: 1,000 conversions to three stand-ins, and an audit of all counts."""
