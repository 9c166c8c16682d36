"""`unpacked`: the body of an answer that came compressed although nobody asked for it."""

from __future__ import annotations

from collections.abc import Mapping

import httpx


def unpacked(headers: Mapping[str, str], content: bytes) -> bytes:
    """Return *content* without the compression that *headers* tell of.

    Raises:
        httpx.DecodingError: it cannot be undone.
    """
    coding = headers.get("content-encoding")
    if coding is None:
        return content
    return httpx.Response(200, headers={"content-encoding": coding}, content=content).content
