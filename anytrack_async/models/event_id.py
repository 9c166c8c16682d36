"""The keys of conversions: from the order, or new."""

from __future__ import annotations

import secrets
import time


def new_event_id() -> str:
    """Return a UUIDv7: unique, and sorted by the time it was made (RFC 9562)."""
    millis = time.time_ns() // 1_000_000
    number = (millis << 80) | secrets.randbits(80)
    number = (number & ~(0xF << 76)) | (0x7 << 76)
    number = (number & ~(0x3 << 62)) | (0x2 << 62)
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def order_event_id(kind: str, event_name: str | None, order_id: str) -> str:
    """Return the key of an order's event: the same one whenever it is imported."""
    if event_name is not None:
        # Escaped, so that no two pairs of name and order make the same key.
        kind += ":" + event_name.replace("%", "%25").replace(":", "%3A")
    return f"{kind}:{order_id}"
