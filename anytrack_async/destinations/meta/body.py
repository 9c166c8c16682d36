"""A request's body: events that were encoded together, joined."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import orjson

from anytrack_async.destinations.meta.settings import MetaSettings


class Chunk(NamedTuple):
    """Events that were encoded together.

    Attributes:
        places: where in the batch each of them stands.
        encoded: the events, with commas between.
    """

    places: Sequence[int]
    encoded: bytes

    @classmethod
    def of(cls, events: Mapping[int, Mapping[str, Any]]) -> Self:
        """Encode *events*, place → event.

        Raises:
            TypeError: JSON cannot hold one of them.
        """
        # The copy leaves behind what orjson keeps of memory beyond a result.
        return cls(tuple(events), orjson.dumps([*events.values()])[1:-1])


def in_pieces(chunks: Iterable[Chunk], max_bytes: int) -> Iterator[list[Chunk]]:
    """Yield *chunks* in groups of at most *max_bytes*; one that is longer goes alone."""
    piece: list[Chunk] = []
    size = 0
    for chunk in chunks:
        length = len(chunk.encoded) + 1
        if piece and size + length > max_bytes:
            yield piece
            piece, size = [], 0
        piece.append(chunk)
        size += length
    if piece:
        yield piece


def request_body(piece: Sequence[Chunk], tail: bytes) -> bytes:
    """Return the body for the events of *piece*; *tail* comes from `request_tail`."""
    parts = [b'{"data":[']
    for chunk in piece:
        parts += (chunk.encoded, b",")
    parts[-1] = tail
    return b"".join(parts)


def request_tail(settings: MetaSettings, token: str) -> bytes:
    """Return what stands behind the events in every request, from the closing bracket on.

    ``appsecret_proof`` shows that the sender of *token* knows the app's secret.

    Source: Meta: Conversions API, main body parameters; Graph API, securing requests.
    """
    fields = {
        "test_event_code": settings.test_event_code,
        "partner_agent": settings.partner_agent,
        "appsecret_proof": _proof(settings.app_secret, token),
    }
    given = {name: value for name, value in fields.items() if value}
    return b"]," + orjson.dumps(given)[1:] if given else b"]}"


def _proof(app_secret: str | None, token: str) -> str | None:
    if app_secret is None:
        return None
    return hmac.new(app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
