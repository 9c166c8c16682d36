"""How much of the app's quota is used, by the headers of Meta's answers, and how long to wait.

Source: Meta: Graph API, rate limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import anyio
import orjson

_BUSY, _FULL = 90.0, 100.0  # percent
_PAUSE, _LONG_PAUSE = 5.0, 30.0  # seconds
_LONGEST = 86_400.0

_APP = ("x-app-usage", "x-ad-account-usage")
_BUSINESS = "x-business-use-case-usage"
_REGAIN = "estimated_time_to_regain_access"


def percent(headers: Mapping[str, str]) -> float:
    """Return how much of the quota is used: the highest figure in the headers, 0 without one."""
    return max(
        (
            value
            for page in _pages(headers)
            for name, number in page.items()
            if name != _REGAIN and (value := _number(number)) is not None
        ),
        default=0.0,
    )


def regain(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until Meta takes calls again, if it says so.

    It counts in whole minutes: 0 is less than one.
    """
    found = (_number(page.get(_REGAIN)) for page in _pages(headers))
    minutes = max((number for number in found if number is not None), default=None)
    return None if minutes is None else min(minutes * 60.0, _LONGEST)


class Pace:
    """Holds requests back while the quota is nearly used, so that it never is.

    From 90 % on the next request waits 5 s after the last response, from 100 % on 30 s.
    """

    def __init__(self) -> None:
        self._free_at = 0.0

    def note(self, headers: Mapping[str, str]) -> None:
        """Take note of a response's headers."""
        if (used := percent(headers)) >= _BUSY:
            pause = _LONG_PAUSE if used >= _FULL else _PAUSE
            self._free_at = max(self._free_at, anyio.current_time() + pause)

    async def turn(self) -> None:
        """Wait until the next request may go."""
        if (wait := self._free_at - anyio.current_time()) > 0:
            await anyio.sleep(wait)


def _pages(headers: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    for name in _APP:
        if isinstance(page := _json(headers.get(name)), Mapping):
            yield page
    by_business = _json(headers.get(_BUSINESS))
    if isinstance(by_business, Mapping):
        for pages in by_business.values():
            yield from (page for page in _list(pages) if isinstance(page, Mapping))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _json(text: str | None) -> Any:
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return max(float(value), 0.0)
