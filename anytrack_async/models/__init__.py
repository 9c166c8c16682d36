"""What callers build and what the services answer: frozen, keyword-only, valid once they exist."""
