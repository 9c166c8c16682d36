"""Dates as people and spreadsheets write them: ``25/06/2026 2:05 PM``, ``Jun 25, 2026 14:05:03``.

The format ``written`` of `FileMapping.formats`. Whether 05/06/2026 is in May or in June is never
guessed: such a date is refused unless the order is stated, or the date shows it. Dots always have
the day first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, tzinfo
from typing import Final

from anytrack_async.backfilling.advice import IN_PYTHON, Advice
from anytrack_async.backfilling.settings import to_zone
from anytrack_async.errors import ConfigurationError, InvalidConversionError

_NUMBERS = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:,?\s+(.+))?")
_YEAR_FIRST = re.compile(r"(\d{4})([./-])(\d{1,2})\2(\d{1,2})(?:(?:,?\s+|T)(.+))?")
_MONTH_NAME = re.compile(r"([A-Za-z]{3})[a-z]*\.?\s+(\d{1,2}),?\s*(\d{4})(?:,?\s+(.+))?")
_DAY_AND_NAME = re.compile(r"(\d{1,2})\.?\s+([A-Za-z]{3})[a-z]*\.?,?\s+(\d{4})(?:,?\s+(.+))?")
_CLOCK = re.compile(
    r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?(?:\s*([AaPp])\.?[Mm]\.?(?=\s|$))?(?:\s*(\S+))?"
)
_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)

_UNCLEAR = "has a day and a month that can be read in both orders: state the order, "


def written_parser(
    day_first: bool | None, *, advice: Advice = IN_PYTHON
) -> Callable[[str], datetime | None]:
    """Return a function from a text to a time, without a zone if the text states none.

    Args:
        day_first: whether 05/06/2026 is the 5th of June; None if that is not known.
        advice: names the setting in a refusal.

    Returns:
        A function that returns None if the text is in another form, and raises
        `InvalidConversionError` if day and month could be exchanged.
    """

    def parse(text: str) -> datetime | None:
        text = text.strip()
        if match := _NUMBERS.fullmatch(text):
            first, sign, second, year, clock = match.groups()
            order = True if sign == "." else day_first
            if order is None and _is_unclear(int(first), int(second)):
                raise InvalidConversionError("timestamp", _UNCLEAR + advice.state("day_first"))
            month, day = _month_and_day(int(first), int(second), order)
        elif match := _YEAR_FIRST.fullmatch(text):
            year, _, month_digits, day_digits, clock = match.groups()
            month, day = int(month_digits), int(day_digits)
        elif match := _MONTH_NAME.fullmatch(text):
            name, digits, year, clock = match.groups()
            month, day = _month(name), int(digits)
        elif match := _DAY_AND_NAME.fullmatch(text):
            digits, name, year, clock = match.groups()
            month, day = _month(name), int(digits)
        else:
            return None
        return _moment(int(year), month, day, clock)

    return parse


def _is_unclear(first: int, second: int) -> bool:
    """Return whether each of the two may be the month."""
    return first <= 12 and second <= 12 and first != second


def _month_and_day(first: int, second: int, day_first: bool | None) -> tuple[int, int]:
    """Return month and day of 05/06: (6, 5) with the day first."""
    if day_first is None:
        day_first = first > 12
    return (second, first) if day_first else (first, second)


def _month(name: str) -> int:
    """Return the number of a month from its English name; 0 if there is no such month."""
    short = name.lower()
    return _MONTHS.index(short) + 1 if short in _MONTHS else 0


def _moment(year: int, month: int, day: int, clock: str | None) -> datetime | None:
    parsed = _clock(clock) if clock else time()
    if parsed is None:
        return None
    try:
        return datetime.combine(date(year, month, day), parsed)
    except ValueError:
        return None


def _clock(text: str) -> time | None:
    """Return the time of day in ``2:05:03 PM``, ``14:05 +0200`` or ``14:05 Europe/Berlin``."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds, half, zone_name = match.groups()
    hour = int(hours)
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half in "Pp" else 0)
    zone = zone_of(zone_name) if zone_name else None
    if zone_name and zone is None:
        return None
    try:
        return time(hour, int(minutes), int(seconds or 0), tzinfo=zone)
    except ValueError:
        return None


def zone_of(name: str) -> tzinfo | None:
    """Return the zone of an offset or of a name such as Europe/Berlin; None for abbreviations.

    Abbreviations are left to `FileMapping.zones`, because most of them have several meanings.
    """
    if name in ("UTC", "GMT", "Z"):
        return UTC
    if name[:1] not in "+-" and "/" not in name:
        return None
    try:
        return to_zone(name)
    except ConfigurationError:
        return None
