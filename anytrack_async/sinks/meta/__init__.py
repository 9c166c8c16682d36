"""Meta's Conversions API."""

# Two conversions with `MetaFields` are compared by their stored form. Getting it ready takes long;
# better now than while conversions come in.
import anytrack_async.codec.storage as _storage  # noqa: F401
from anytrack_async.sinks.meta.clicks import fbc, fbclid_of
from anytrack_async.sinks.meta.event import to_event
from anytrack_async.sinks.meta.hashing import hashed, hashed_all
from anytrack_async.sinks.meta.normalise import normalise
from anytrack_async.sinks.meta.preflight import Fault, find_fault, find_weakness
from anytrack_async.sinks.meta.sink import MetaSink
from anytrack_async.sinks.meta.user_data import match_keys

__all__ = [
    "Fault",
    "MetaSink",
    "fbc",
    "fbclid_of",
    "find_fault",
    "find_weakness",
    "hashed",
    "hashed_all",
    "match_keys",
    "normalise",
    "to_event",
]
