"""Signed webhooks to a receiver of your own."""
