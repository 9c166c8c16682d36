"""Python values as HubSpot's property values: text, plain numbers, UTC times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import attrs
import orjson

from anytrack_async.destinations.hubspot.settings import PropertySource
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.validators import encodable

_LONGEST_NUMBER = 40


def plain(number: Decimal) -> str:
    """Return *number* in digits: no exponent, no thousands separators, no minus before zero."""
    text = str(number)
    if "E" in text:
        # A minute exponent would make a text of a million zeros.
        text = format(number if number.adjusted() > -20 else Decimal(0), "f")
    if len(text) > _LONGEST_NUMBER:
        text = format(number, ".12f")
    return text[1:] if text.startswith("-") and not number else text


def moment(at: datetime) -> str:
    """Return *at*, which is in UTC, as ``YYYY-MM-DDThh:mm:ss.sssZ``."""
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"


def text(value: Any) -> str:
    """Return *value* as a property value without blanks around it; nothing as ``""``.

    Raises:
        ValueError: it holds half a character (a lone surrogate), which no request can carry.
    """
    written = (value if isinstance(value, str) else _written(value)).strip()
    if written.isascii() or encodable(written):
        return written
    raise ValueError("half a character (a lone surrogate)")


def _written(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            return plain(value)
        case float():
            return plain(Decimal(repr(value)))
        case datetime():
            return moment(value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))
        case date():
            return value.isoformat()
        case Mapping():
            return orjson.dumps(value).decode()
        case list() | tuple():
            return ";".join(text(one) for one in value)  # how HubSpot writes several choices
        case _:
            return str(value)


def check_source(setting: str, source: PropertySource) -> None:
    """Raise `ConfigurationError` if *source* names a field that conversions do not have."""
    fields = {one.name for one in attrs.fields(Conversion)}
    for name, where in () if callable(source) else source.items():
        if not where.startswith("=") and where.partition(".")[0] not in fields:
            raise ConfigurationError(
                f"{setting}[{name!r}]: a conversion has no field {where!r}; "
                "write '=text' for a constant"
            )


def extras(conversion: Conversion, source: PropertySource) -> dict[str, str]:
    """Return the further properties that *source* gives *conversion*."""
    if callable(source):
        return {name: text(value) for name, value in source(conversion).items()}
    return {name: _found(conversion, where) for name, where in source.items()}


def _found(conversion: Conversion, where: str) -> str:
    if where.startswith("="):
        return where[1:].strip()
    value: Any = conversion
    while where and value is not None:
        if isinstance(value, Mapping):
            if where in value:
                return text(value[where])
            head, _, where = where.partition(".")
            value = value.get(head)
        else:
            head, _, where = where.partition(".")
            value = getattr(value, head, None)
    # A customer has several values of one kind; a property takes the first.
    return text(value[0] if isinstance(value, tuple) and value else value)
