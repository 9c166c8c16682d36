"""`anytrack demo`: 1,000 conversions to three services, and the count of both sides."""

from anytrack_async.cli.demo.command import demo

__all__ = ["demo"]
