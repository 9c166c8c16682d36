"""Numbers, times and states as words: the filters of the templates."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from decimal import Decimal

import attrs

_LAST_SECOND = 253_402_300_799.0  # the end of the year 9999

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def count(number: int | None) -> str:
    """Return *number* with separators, ``1,234,567``; a dash for None."""
    return "–" if number is None else f"{number:,}"


def amount(value: Decimal) -> str:
    """Return major units of a currency: ``1,249.90``."""
    return f"{value:,.2f}"


def rate(per_second: float | None) -> str:
    """Return a rate in the unit in which it is a readable number: ``12 / s``, ``3 / min``."""
    if per_second is None:
        return "–"
    if per_second == 0:
        return "0 / s"
    if per_second >= 1:
        return f"{per_second:,.0f} / s"
    return f"{per_second * 60:,.0f} / min" if per_second * 60 >= 1 else "< 1 / min"


def duration(seconds: float | None) -> str:
    """Return seconds in the two largest units: ``2 d 3 h``, ``4 min 5 s``."""
    if seconds is None:
        return "–"
    if not math.isfinite(seconds):
        return "–"
    remaining, parts = max(0, round(seconds)), []
    for size, unit in _UNITS:
        if remaining >= size:
            parts.append(f"{remaining // size} {unit}")
            remaining %= size
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def ago(moment: float | None) -> str:
    """Return how long ago unix seconds are: ``3 min ago``."""
    return "–" if moment is None else f"{duration(time.time() - moment)} ago"


def when(moment: float | None) -> str:
    """Return unix seconds as ``2026-11-27 14:03:05``, UTC."""
    if moment is None:
        return "–"
    return f"{_date(moment):%Y-%m-%d %H:%M:%S}"


def iso(moment: float) -> str:
    """Return unix seconds as ISO 8601, for the attribute of a ``time`` element."""
    return _date(moment).isoformat(timespec="seconds")


def _date(moment: float) -> datetime:
    """Return unix seconds as a date; the nearest one there is, if a damaged record has none."""
    try:
        return datetime.fromtimestamp(min(max(moment, 0.0), _LAST_SECOND), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """Return ``1 conversion`` or ``2 conversions``."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def size(octets: float | None) -> str:
    """Return bytes as ``12.3 MB``."""
    if octets is None:
        return "–"
    for unit in ("bytes", "kB", "MB", "GB"):
        if octets < 1_000 or unit == "GB":
            break
        octets /= 1_000
    return f"{octets:,.0f} {unit}" if unit == "bytes" else f"{octets:,.1f} {unit}"


@attrs.frozen
class State:
    """A state as a word, a sign and a colour; word and sign are enough for readers without colours.

    Attributes:
        word: the state in words, e.g. ``"delivering"``.
        sign: a character before the word.
        tone: the class of the colour: good, note, bad or quiet.
        rank: the order in lists: the most urgent state has the lowest rank.
    """

    word: str
    sign: str
    tone: str
    rank: int


HELD = State("held", "!", "bad", 0)
DOWN = State("down", "✕", "bad", 1)
FAILING = State("failing", "✕", "bad", 2)
PAUSED = State("paused", "‖", "note", 3)
NO_WORKER = State("nothing is sending", "?", "note", 4)
THROTTLED = State("throttled", "⧗", "note", 5)
RETRYING = State("retrying", "↻", "note", 6)
DELIVERING = State("delivering", "→", "good", 7)
IDLE = State("up to date", "✓", "good", 8)

OUTCOMES = {
    "delivered": State("delivered", "✓", "good", 9),
    "waiting": State("waiting", "…", "quiet", 5),
    "retry": State("retrying", "↻", "note", 4),
    "dead": State("dead letter", "✕", "bad", 0),
    "rejected": State("rejected", "✕", "bad", 0),
    "dropped": State("dropped", "✕", "bad", 1),
    "discarded": State("discarded", "⊘", "quiet", 2),
    "skipped": State("skipped", "⊘", "quiet", 3),
}
"""Status of an outcome → how it is shown."""

FILTERS = {
    "ago": ago,
    "amount": amount,
    "count": count,
    "duration": duration,
    "iso": iso,
    "plural": plural,
    "rate": rate,
    "size": size,
    "when": when,
}
