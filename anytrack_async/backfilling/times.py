"""Times as files state them: ISO 8601, unix seconds, ``25/06/2026 2:05 PM``, ``Jun 25, 2026``.

Times are never guessed. A time without a zone is refused unless the zone is stated. So is a time
that its zone has twice or not at all, in the nights when the clocks change, and a date such as
05/06/2026 unless the order of day and month is stated, or clear: dots always have the day first. A
refusal is an `InvalidConversionError` with the setting that decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from anytrack_async.backfilling.advice import IN_PYTHON, Advice
from anytrack_async.backfilling.settings import to_zone
from anytrack_async.errors import ConfigurationError, InvalidConversionError

_OFFSET_AFTER_BLANK = re.compile(r"(?<=\d) (?=[+-]\d{2}:?\d{2}$)")
_ZERO_OFFSET = re.compile(r"\s*(?:UTC|GMT|Z)$")
_SERIAL_DAY = re.compile(r"[2-7]\d{4}(?:[.,]\d+)?")  # of the years 1954 to 2118
_IS_SERIAL = (
    "is the number of a day, as spreadsheets store it: format the column as a date and time, such "
    "as 2026-05-01 10:00:00"
)
_MIDNIGHT = time()


def time_parser(
    formats: Sequence[str],
    zone: tzinfo | None,
    *,
    day_first: bool | None = None,
    advice: Advice = IN_PYTHON,
) -> Callable[[Any, tzinfo | None], datetime]:
    """Return a function from a cell and the row's own zone to a time in UTC.

    Args:
        formats: tried in order, see `FileMapping.formats`.
        zone: of times that state none; None to refuse them.
        day_first: whether 05/06/2026 is the 5th of June, for the format ``written``.
        advice: names the settings in a refusal.

    Returns:
        A function that raises `InvalidConversionError` for the field ``timestamp``.
    """
    own_formats = {**_FORMATS, "written": written_parser(day_first, advice=advice)}
    parsers = [own_formats.get(name) or _by_format(name) for name in formats]
    examples = " or ".join(_EXAMPLES.get(name, name) for name in formats)
    problem = f"is not a time such as {examples}: {advice.formats}"
    return _to_utc(parsers, zone, problem, advice)


def _to_utc(
    parsers: Sequence[Callable[[str], datetime | None]],
    zone: tzinfo | None,
    problem: str,
    advice: Advice,
) -> Callable[[Any, tzinfo | None], datetime]:
    def parse(value: Any, own_zone: tzinfo | None = None) -> datetime:
        moment = None
        if type(value) is str:
            for parser in parsers:
                if (moment := parser(value)) is not None:
                    break
        else:
            moment = _from_object(value)
        if moment is None:
            raise InvalidConversionError("timestamp", _IS_SERIAL if _is_serial(value) else problem)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=own_zone or zone or _refuse_naive(advice))
            _check_clocks(moment)
        elif type(value) is str:  # "2026-10-25 02:30 Europe/Berlin"
            _check_clocks(moment)
        return _in_utc(moment)

    return parse


def _is_serial(value: Any) -> bool:
    """Return whether *value* is the number of a day, as spreadsheets count days."""
    return type(value) is str and _SERIAL_DAY.fullmatch(value.strip()) is not None


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidConversionError("timestamp", "is outside the years 1 to 9999") from None


def _refuse_naive(advice: Advice) -> tzinfo:
    raise InvalidConversionError(
        "timestamp",
        f"has no time zone: state the zone of the file's times, {advice.state('timezone')}",
    )


def _check_clocks(moment: datetime) -> None:
    """Refuse a time that occurs twice or never in its zone, when the clocks change.

    In Berlin, 02:30 on 25 October 2026 is 00:30 or 01:30 UTC, and on 29 March there is no 02:30.
    Midnight is allowed, because a date without a time is read as midnight.
    """
    zone = moment.tzinfo
    if not isinstance(zone, ZoneInfo) or moment.time() == _MIDNIGHT:
        return
    first, second = zone.utcoffset(moment), zone.utcoffset(moment.replace(fold=1))
    if first == second:
        return
    if first and second and first > second:
        problem = (
            f"is twice in {zone.key}, where the clocks go back: write the offset behind it, "
            f"{moment:%z} or {moment.replace(fold=1):%z}"
        )
    else:
        problem = (
            f"does not exist in {zone.key}, where the clocks go forward: correct it, or write the "
            "offset behind it"
        )
    raise InvalidConversionError("timestamp", problem)


def _from_iso(text: str) -> datetime | None:
    """Return the time in ``2026-05-01 10:00:00 +0200`` and the like; None for another form."""
    if text[4:5] != "-":
        text = text.strip()
        if text[4:5] != "-":
            return None
    try:
        if len(text) == 25 and text[19] == " ":  # the form of Shopify
            return datetime.fromisoformat(text[:19] + text[20:])
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    text = _ZERO_OFFSET.sub("+00:00", _OFFSET_AFTER_BLANK.sub("", text.strip()))
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    text, _, name = text.rpartition(" ")  # "2026-05-01 10:00:00 America/New_York"
    if (zone := zone_of(name)) is None:
        return None
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=zone)
    except ValueError:
        return None


def _from_unix(text: str) -> datetime | None:
    """Return the time of unix seconds, or of milliseconds if there are 13 digits.

    Texts of 12 digits are refused: 202605011000 is more likely 10 o'clock on 1 May 2026.
    """
    digits, _, fraction = text.strip().partition(".")
    if not digits.isascii() or not digits.isdecimal() or len(digits) not in (9, 10, 13):
        return None
    if fraction and not fraction.isdecimal():
        return None
    return _from_seconds(float(f"{digits}.{fraction or 0}"))


_MILLISECONDS_FROM = 1e11  # seconds until then: the year 5138


def _from_seconds(seconds: float) -> datetime | None:
    if seconds >= _MILLISECONDS_FROM:
        seconds /= 1000
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return None


def _by_format(form: str) -> Callable[[str], datetime | None]:
    def parse(text: str) -> datetime | None:
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            return None

    return parse


def _from_object(value: Any) -> datetime | None:
    """Return a time of a database or of Parquet, and a JSON number as unix seconds."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        seconds = float(value)
        return _from_seconds(seconds) if 1e8 < seconds < 1e10 or 1e12 <= seconds < 1e13 else None
    return None


_FORMATS: Mapping[str, Callable[[str], datetime | None]] = {"iso": _from_iso, "unix": _from_unix}
_EXAMPLES: Mapping[str, str] = {
    "iso": "2026-05-01 10:00:00 +0200",
    "unix": "1777622400 (unix seconds)",
    "written": "25.06.2026 14:05:03",
}


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


# The format ``written`` of `FileMapping.formats`


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
