"""The Meta Conversions API stand-in: `POST /{version}/{pixel}/events`."""

from anytrack_async.sandbox.meta.service import MetaService

__all__ = ["MetaService"]
