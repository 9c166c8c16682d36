"""The AnyTrack REST stand-in: its eight calls under `/v1`."""

from anytrack_async.sandbox.anytrack.service import AnyTrackService

__all__ = ["AnyTrackService"]
