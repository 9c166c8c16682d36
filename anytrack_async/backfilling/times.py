"""Times in the words of a file.

They are never guessed: a time without a zone is refused unless the zone is stated, and so is one
that its zone has twice or not at all, in the nights when the clocks change. A refusal is an
`InvalidConversionError` that says which setting decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from anytrack_async.backfilling.advice import IN_PYTHON, Advice
from anytrack_async.backfilling.dates import written_parser, zone_of
from anytrack_async.errors import InvalidConversionError

_OFFSET_AFTER_BLANK = re.compile(r"(?<=\d) (?=[+-]\d{2}:?\d{2}$)")
_ZERO_OFFSET = re.compile(r"\s*(?:UTC|GMT|Z)$")
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
            raise InvalidConversionError("timestamp", problem)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=own_zone or zone or _refuse_naive(advice))
            _check_clocks(moment)
        elif type(value) is str:  # "2026-10-25 02:30 Europe/Berlin"
            _check_clocks(moment)
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            raise InvalidConversionError("timestamp", "is outside the years 1 to 9999") from None

    return parse


def _refuse_naive(advice: Advice) -> tzinfo:
    raise InvalidConversionError(
        "timestamp",
        f"has no time zone: state the zone of the file's times, {advice.state('timezone')}",
    )


def _check_clocks(moment: datetime) -> None:
    """Refuse a time of the hour that its zone has twice, or not at all.

    In Berlin, 02:30 on 25 October 2026 is 00:30 or 01:30 UTC, and on 29 March there is no 02:30.
    Midnight passes: it is how a day without a time is read.
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
    """Return the time of ``2026-05-01 10:00:00 +0200`` and the like; None if it is another form."""
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

    12 digits are no time of this century, but 202605011000 is 10 o'clock on 1 May 2026.
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
