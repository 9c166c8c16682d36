"""Types of Meta's parameters, each with the rule that a value must keep.

An ``Annotated`` type carries its rule: a function that takes a parameter's path and value, and
returns the value to keep. A ``Literal`` allows the values it lists. `MetaFields` is made of them.

Source: Meta: Conversions API, parameters.
"""

# No `from __future__ import annotations`: rules are read from annotations, and compiling these from
# text would take most of the import.

import re
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.identifiers import Identifier, cut_text, id_from_number, id_text
from anytrack_async.models.mappings import json_map
from anytrack_async.models.missing import BLANK, is_iterable, is_missing, is_missing_number
from anytrack_async.models.validators import Amount, number, text, unicode_text, utc, whole_number
from anytrack_async.models.visitor import visitor_id, visitor_text, visitor_url

_ZERO = Decimal(0)

# Taken from the conversion and its customer, so `extra` must not contradict them.
_SET_BY_CONVERSION = frozenset(
    (
        *("event_name", "event_time", "event_id", "event_source_url", "action_source"),
        *("user_data", "custom_data"),
    )
)
_SET_BY_CUSTOMER = frozenset(
    (
        *("em", "ph", "ge", "db", "ln", "fn", "ct", "st", "zp", "country", "external_id"),
        *("client_ip_address", "client_user_agent", "fbc", "fbp"),
    )
)


# Rules


def _id(path: str, value: object) -> str:
    return text(path, value if isinstance(value, str) else id_from_number(value) or value)


# What a visitor controls never raises; see `anytrack_async.models.visitor`.


def _visitor_id(_: str, value: Any) -> str | None:
    return visitor_id(value)


def _visitor_text(_: str, value: Any) -> str | None:
    return visitor_text(value)


def _visitor_url(_: str, value: Any) -> str | None:
    return visitor_url(value)


_FLAG_WORDS = {"0": False, "-0": False, "1": True, "false": False, "true": True}
_DECIMAL_ZEROS = re.compile(r"\.0+$")


def _flag(path: str, value: object) -> bool | None:
    if type(value) is bool:
        return value
    if is_missing_number(value):
        return None
    # 1.0, Decimal("1.00") and numpy's true are written differently, but equal 1.
    try:
        text = _DECIMAL_ZEROS.sub("", str(value).strip(BLANK).lower())
    except Exception:  # an integer of more than 4,300 digits, or a class that cannot write itself
        text = ""
    if text not in _FLAG_WORDS:
        problem = f"must be True, False, 0 or 1, got {type(value).__name__}"
        raise InvalidConversionError(path, problem)
    return _FLAG_WORDS[text]


def _time(path: str, value: Any) -> datetime | None:
    if is_missing_number(value):
        return None
    if isinstance(value, str):  # as an outbox stores it
        try:
            value = datetime.fromisoformat(value.strip(BLANK))
        except ValueError:
            raise InvalidConversionError(
                path, "must be a datetime, or ISO 8601 text such as '2026-09-01T12:00:00+00:00'"
            ) from None
    return utc(path, value)


def is_single(value: Any) -> bool:
    """Return whether *value* is one value, and not several: also text, bytes, and a dict."""
    return isinstance(value, str | bytes | bytearray | Mapping) or not is_iterable(value)


def _texts(path: str, value: Any) -> tuple[str, ...]:
    """Return *value*, one or several, as a tuple of texts, without missing ones."""
    if is_single(value):
        value = (value,)
    entries = sorted(value, key=str) if isinstance(value, Set) else value
    return tuple(
        _list_entry(f"{path}[{index}]", entry)
        for index, entry in enumerate(entries)
        if not is_missing(entry)
    )


def _list_entry(path: str, value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    entry = value if isinstance(value, str) else id_from_number(value)
    if not isinstance(entry, str):
        raise InvalidConversionError(path, f"must be text, got {type(value).__name__}")
    return unicode_text(path, entry)


def _number(path: str, value: Any, **limits: Decimal) -> Decimal | None:
    return None if is_missing_number(value) else number(path, value, **limits)


def _count(path: str, value: Any) -> int | None:
    return None if is_missing_number(value) else whole_number(path, value)


def _device_info(path: str, value: Any) -> tuple[str, ...]:
    if is_single(value) or isinstance(value, Set):
        raise InvalidConversionError(path, f"must be a list, got {type(value).__name__}")
    # The position counts, so a missing value stays as an empty one.
    values = tuple(
        "" if is_missing(entry) else _list_entry(f"{path}[{index}]", entry)
        for index, entry in enumerate(value)
    )
    if len(values) != 16:
        raise InvalidConversionError(path, "must have 16 values; use '' for an unknown one")
    if values[0] not in ("a2", "i2"):
        raise InvalidConversionError(path, "must start with 'a2' (Android) or 'i2' (iOS)")
    if not values[4]:
        raise InvalidConversionError(path, "must have the OS version as its fifth value")
    return values


def _processing_options(path: str, value: Any) -> tuple[str, ...]:
    options = (value,) if is_single(value) else tuple(value)
    if any(not isinstance(option, str) for option in options) or options not in ((), ("LDU",)):
        raise InvalidConversionError(path, "must be () or ('LDU',)")
    return ("LDU",) if options else ()


def _extra(reserved: frozenset[str], path: str, value: Any) -> Mapping[str, Any] | None:
    extra = json_map(path, value)
    if names := reserved & extra.keys():
        # Meta refuses a whole request for one value that should have been hashed.
        raise InvalidConversionError(
            path,
            f"must not contain {', '.join(sorted(names))}: set them on Conversion or Customer",
        )
    return extra or None


# Types of parameters

Text: TypeAlias = Annotated[Identifier, cut_text]
"""Text or a whole number; cut to 4,096 characters."""

Id: TypeAlias = Annotated[Identifier, _id]
"""Text, an integer or a UUID; kept as text."""

VisitorId: TypeAlias = Annotated[Identifier, _visitor_id]
"""An id in a link; left out if it is not usable."""

VisitorText: TypeAlias = Annotated[str, _visitor_text]
"""Text that a visitor enters; cut to 4,096 characters, without control characters."""

VisitorUrl: TypeAlias = Annotated[str, _visitor_url]
"""A URL; cut to 4,096 characters, between two parameters."""

Flag: TypeAlias = Annotated[bool | Literal[0, 1], _flag]
"""True, False, 0 or 1; kept and sent as `bool`."""

AppFlag: TypeAlias = Annotated[bool | Literal[0, 1], _flag]
"""True, False, 0 or 1; kept as `bool`, sent as 0 or 1."""

Count: TypeAlias = Annotated[int, _count]
"""An integer of at least 0."""

Number: TypeAlias = Annotated[Amount, _number]
"""A number, which may be negative; kept as `Decimal`."""

Price: TypeAlias = Annotated[Amount, partial(_number, lowest=_ZERO)]
"""A number of at least 0, major units; kept as `Decimal`."""

Share: TypeAlias = Annotated[Amount, partial(_number, lowest=_ZERO, highest=Decimal(1))]
"""A number from 0 to 1; kept as `Decimal`."""

Time: TypeAlias = Annotated[datetime | str, _time]
"""A time with a time zone, or its ISO 8601 text; kept as `datetime` in UTC."""

Texts: TypeAlias = Annotated[Sequence[str | int], _texts]
"""One or several texts or integers; kept as a tuple of texts."""

DeviceInfo: TypeAlias = Annotated[Sequence[str | int], _device_info]
"""Sixteen values in Meta's order."""

ProcessingOptions: TypeAlias = Annotated[
    Literal["LDU"] | Sequence[Literal["LDU"]], _processing_options
]
"""``("LDU",)`` or nothing."""

EventName: TypeAlias = Annotated[str, partial(id_text, max_length=50)]
"""At most 50 printable characters."""

NewParameters: TypeAlias = Annotated[Mapping[str, Any], partial(_extra, _SET_BY_CONVERSION)]
"""Anything JSON can hold, by Meta's names."""

NewIdentifiers: TypeAlias = Annotated[Mapping[str, Any], partial(_extra, _SET_BY_CUSTOMER)]
"""Anything JSON can hold, by Meta's names."""

ActionSource: TypeAlias = Literal[
    "email",
    "website",
    "app",
    "phone_call",
    "chat",
    "physical_store",
    "system_generated",
    "business_messaging",
    "other",
]
"""Where a conversion happened."""

MessagingChannel: TypeAlias = Literal["messenger", "whatsapp", "instagram"]
"""The messenger that a conversion happened in."""

CustomerSegment: TypeAlias = Literal[
    "new_customer_to_business",
    "new_customer_to_business_line",
    "new_customer_to_product_area",
    "new_customer_to_medium",
    "existing_customer_to_business",
    "existing_customer_to_business_line",
    "existing_customer_to_product_area",
    "existing_customer_to_medium",
    "customer_in_loyalty_program",
]
"""The customer's relation to the business."""

ProcessingCountry: TypeAlias = Literal[0, 1]
"""1 for the United States, 0 to let Meta find out."""

ProcessingState: TypeAlias = Literal[
    0, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013
]
"""1000 (California) to 1013 (Rhode Island), 0 to let Meta find out."""

DeliveryCategory: TypeAlias = Literal["in_store", "curbside", "home_delivery"]
"""How a purchase reaches the customer."""

ContentType: TypeAlias = Literal["product", "product_group"]
"""Whether content ids are those of products or of product groups."""

AttributionModel: TypeAlias = Literal[
    "customized_multi_touch",
    "first_touch",
    "last_click",
    "last_touch",
    "linear",
    "position_based",
    "time_decay",
    "unknown",
]
"""How a conversion's value was divided between ads."""

AttributionMethod: TypeAlias = Literal["ard", "deeplink", "gpir", "invalid_response", "mir", "srn"]
"""How a measurement partner found the ad."""
