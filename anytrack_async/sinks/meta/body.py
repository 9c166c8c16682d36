"""A request's body: events that were encoded once, joined."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import orjson

from anytrack_async.settings import MetaSettings

Place: TypeAlias = tuple[int, bytes]
"""An event's place in its batch, and the event encoded."""


def in_pieces(events: Iterable[Place], max_bytes: int) -> Iterator[list[Place]]:
    """Yield *events* in groups of at most *max_bytes*; one that is longer goes alone."""
    piece: list[Place] = []
    size = 0
    for event in events:
        length = len(event[1]) + 1
        if piece and size + length > max_bytes:
            yield piece
            piece, size = [], 0
        piece.append(event)
        size += length
    if piece:
        yield piece


def request_body(piece: Sequence[Place], tail: bytes) -> bytes:
    """Return the body for the events of *piece*; *tail* comes from `request_tail`."""
    return b'{"data":[' + b",".join(event for _, event in piece) + b"]" + tail


def request_tail(settings: MetaSettings, token: str) -> bytes:
    """Return what stands behind the events in every request, closing brace included.

    ``appsecret_proof`` shows that the sender of *token* knows the app's secret.

    Source: Meta: Conversions API, main body parameters; Graph API, securing requests.
    """
    fields = {
        "test_event_code": settings.test_event_code,
        "partner_agent": settings.partner_agent,
        "appsecret_proof": _proof(settings.app_secret, token),
    }
    given = {name: value for name, value in fields.items() if value}
    return b"," + orjson.dumps(given)[1:] if given else b"}"


def _proof(app_secret: str | None, token: str) -> str | None:
    if app_secret is None:
        return None
    return hmac.new(app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
