"""AnyTrack: the sink, and what it says on the wire."""

from anytrack_async.sinks.anytrack.sink import AnyTrackSink
from anytrack_async.sinks.anytrack.wire import to_wire

__all__ = ["AnyTrackSink", "to_wire"]
