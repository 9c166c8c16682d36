"""`anytrack demo`: 1,000 conversions to three services, and the count of both sides."""
