"""What `POST /conversions` takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

CONVERSION_TYPES = ("sale", "lead", "signup", "custom")

_YEARS = range(1990, 2200)
_TOO_MUCH = 10**15
_CURRENCY = re.compile(r"[A-Za-z]{3}")


def is_money(value: object) -> bool:
    """Return whether *value* is an amount: a number or its text, not negative."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return 0 <= value < _TOO_MUCH
    if not isinstance(value, str):
        return False
    try:
        return 0 <= Decimal(value) < _TOO_MUCH
    except InvalidOperation:
        return False


def is_moment(value: object) -> bool:
    """Return whether *value* is an ISO 8601 time."""
    if not isinstance(value, str):
        return False
    try:
        parse_time(value)
    except ValueError:
        return False
    return True


def parse_time(text: str) -> datetime:
    """Return the time *text* says; without an offset it is UTC.

    Raises:
        ValueError: it says none, or one nobody can have meant.
    """
    at = datetime.fromisoformat(text)
    if at.year not in _YEARS:
        raise ValueError(f"not a time to convert at: {text}")
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _is_type(value: object) -> bool:
    return value in CONVERSION_TYPES


def _is_currency(value: object) -> bool:
    return isinstance(value, str) and _CURRENCY.fullmatch(value) is not None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


_RULES: dict[str, tuple[Callable[[object], bool], str]] = {
    "click_id": (_is_text, "must be a string"),
    "conversion_type": (_is_type, "must be one of " + ", ".join(CONVERSION_TYPES)),
    "revenue": (is_money, "must be a number, zero or more"),
    "currency": (_is_currency, "must be a three-letter code"),
    "timestamp": (is_moment, f"must be an ISO 8601 time in the years {_YEARS[0]} to {_YEARS[-1]}"),
    "order_id": (_is_text, "must be a string"),
    "custom_data": (_is_object, "must be an object"),
    "sub_ids": (_is_object, "must be an object"),
    "source": (_is_text, "must be a string"),
    "campaign_id": (_is_text, "must be a string"),
    "ad_id": (_is_text, "must be a string"),
    "ip_address": (_is_text, "must be a string"),
    "user_agent": (_is_text, "must be a string"),
}


def problems(data: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong with *data*, by field. Unknown fields are nobody's business."""
    found = {} if data.get("conversion_type") is not None else {"conversion_type": "is required"}
    for name, value in data.items():
        rule = _RULES.get(name)
        # Null means "not given", as in most services written in a dynamic language.
        if rule is not None and value is not None and not rule[0](value):
            found[name] = rule[1]
    return found


def event_id(data: dict[str, Any], header: str) -> str | None:
    """Return the key that makes a repeated conversion the same one, if it carries a key."""
    if header:
        return header
    custom = data.get("custom_data")
    key = custom.get("event_id") if custom else None
    return str(key) if key else None
