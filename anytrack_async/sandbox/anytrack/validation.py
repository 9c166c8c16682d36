"""Validation of `POST /conversions`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

CONVERSION_TYPES = ("sale", "lead", "signup", "custom")

_YEARS = range(1990, 2200)
_MAX_MONEY = 10**15
_CURRENCY = re.compile(r"[A-Za-z]{3}")


def find_problems(data: dict[str, Any]) -> dict[str, str]:
    """Return field name → problem for the conversion *data*; unknown fields are ignored."""
    problems = {}
    if data.get("conversion_type") is None:
        problems["conversion_type"] = "is required"
    for name, value in data.items():
        rule = _RULES.get(name)
        # Null means "absent", as in most services written in a dynamic language.
        if rule is not None and value is not None and not rule[0](value):
            problems[name] = rule[1]
    return problems


def event_id(data: dict[str, Any], header: str) -> str | None:
    """Return the key that makes a repeated conversion the same one, if it has a key.

    Args:
        data: the conversion, already validated.
        header: its `Idempotency-Key`, which takes precedence over `custom_data.event_id`.
    """
    if header:
        return header
    custom = data.get("custom_data")
    key = custom.get("event_id") if custom else None
    return str(key) if key else None


def is_money(value: object) -> bool:
    """Return whether *value* is a number, or the text of one, that is not negative."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return 0 <= value < _MAX_MONEY
    if not isinstance(value, str):
        return False
    try:
        return 0 <= Decimal(value) < _MAX_MONEY
    except InvalidOperation:
        return False


def is_time(value: object) -> bool:
    """Return whether *value* is an ISO 8601 time."""
    if not isinstance(value, str):
        return False
    try:
        parse_time(value)
    except ValueError:
        return False
    return True


def parse_time(text: str) -> datetime:
    """Return the ISO 8601 time *text* in UTC; a time without an offset is UTC.

    Raises:
        ValueError: it is not a time, or its year is not plausible.
    """
    moment = datetime.fromisoformat(text)
    if moment.year not in _YEARS:
        raise ValueError(f"not a plausible time of a conversion: {text}")
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


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
    "timestamp": (is_time, f"must be an ISO 8601 time in the years {_YEARS[0]} to {_YEARS[-1]}"),
    "order_id": (_is_text, "must be a string"),
    "custom_data": (_is_object, "must be an object"),
    "sub_ids": (_is_object, "must be an object"),
    "source": (_is_text, "must be a string"),
    "campaign_id": (_is_text, "must be a string"),
    "ad_id": (_is_text, "must be a string"),
    "ip_address": (_is_text, "must be a string"),
    "user_agent": (_is_text, "must be a string"),
}
