"""Meta: events as columns with the names of the Conversions API, plain or dotted, or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.vocabulary import add_type
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import LineItem
from anytrack_async.models.validators import amount


def _names(*names: str) -> tuple[str, ...]:
    """Return names of columns of the customer, also with ``user_data.`` before them."""
    return (*names, *(f"user_data.{name}" for name in names))


_EMAIL = _names("em", "email", "emails")
_PHONE = _names("ph", "phone", "phone_number")
_FBC = _names("fbc")
_FBP = _names("fbp")
_EXTERNAL_ID = _names("external_id", "extern_id")
_IP_ADDRESS = _names("client_ip_address", "ip_address", "ip")


def _add_parameters(fields: dict[str, Any], cell: Callable[[str], Any]) -> None:
    """Add the amount and the items of nested JSON, then the type and the action source."""
    nested = cell("custom_data")
    if not isinstance(nested, Mapping):
        nested = {}
    if "revenue" not in fields and nested.get("value") is not None:
        fields["revenue"] = amount("value", nested["value"])
    contents = cell("contents") or cell("custom_data.contents") or nested.get("contents")
    if items := list(_items(contents)):
        fields["items"] = items
    if source := cell("action_source"):
        fields["meta"] = {"action_source": str(source).strip().lower()}
    add_type(fields, cell)


def _items(contents: Any) -> Iterable[LineItem]:
    """Yield the items of ``[{"id": "S-7", "quantity": 2, "item_price": 19.9}]``."""
    if isinstance(contents, str):
        try:
            contents = orjson.loads(contents)
        except orjson.JSONDecodeError:
            raise InvalidConversionError(
                "contents", 'is not JSON such as [{"id": "S-7", "quantity": 2}]'
            ) from None
    for content in contents if isinstance(contents, list) else ():
        if isinstance(content, Mapping) and content.get("id"):
            yield LineItem(
                id=content["id"],
                quantity=content.get("quantity"),
                price=content.get("item_price"),
                title=content.get("title"),
            )


EVENTS = FileMapping(
    name="meta-events",
    title="Meta: events with the names of the Conversions API",
    page=("https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters"),
    signature=(
        "event_name",
        "event_time",
        (*_EMAIL, *_PHONE, *_FBC, *_FBP, *_EXTERNAL_ID, *_IP_ADDRESS, "fbclid", "user_data"),
    ),
    columns={
        "conversion_type": "event_name",
        "timestamp": "event_time",
        "event_id": "event_id",
        "order_id": ("order_id", "custom_data.order_id"),
        "currency": ("currency", "custom_data.currency"),
        "page_url": ("event_source_url", "url"),
        "ip_address": _IP_ADDRESS,
        "user_agent": _names("client_user_agent", "user_agent"),
        "customer.email": _EMAIL,
        "customer.phone": _PHONE,
        "customer.first_name": _names("fn", "first_name"),
        "customer.last_name": _names("ln", "last_name"),
        "customer.gender": _names("ge", "gen", "gender"),
        "customer.birth_date": _names("db", "dob"),
        "customer.city": _names("ct", "city"),
        "customer.state": _names("st", "state"),
        "customer.postal_code": _names("zp", "zip"),
        "customer.country": _names("country"),
        "customer.external_id": _EXTERNAL_ID,
        "customer.fbc": _FBC,
        "customer.fbp": _FBP,
        "customer.fbclid": _names("fbclid"),
        "custom_data.content_name": ("content_name", "custom_data.content_name"),
        "custom_data.content_category": ("content_category", "custom_data.content_category"),
    },
    amounts={"gross": "value", "dotted": "custom_data.value"},
    amount=("gross", "dotted"),
    formats=("iso", "unix"),
    decimal=".",
    finish=_add_parameters,
    notes=(
        (
            "`event_time` is ISO 8601 or unix seconds. Times in ISO 8601 without a zone "
            "need `--timezone`."
        ),
        (
            "`Purchase` is a sale, `Lead` a lead, `CompleteRegistration` a sign-up; another "
            "name is a custom event of that name."
        ),
        (
            "The event id is `event_id` where the file has one, because Meta finds repeats "
            "by it; else it is made from `order_id`."
        ),
        (
            "Columns with the same name are several values of one customer. SHA-256 hashes "
            "are sent as they are."
        ),
        "`contents` is JSON; its products become line items.",
    ),
)

AUDIENCE = FileMapping(
    name="meta-audience",
    title="Meta: customer list for an audience",
    signature=(
        ("email", "phone", "madid"),
        ("fn", "ln"),
        ("zip", "ct", "st", "country", "dob", "doby", "gen", "age", "uid", "madid"),
    ),
    absent=(
        *("event_name", "event_time", "order_id", "timestamp", "date", "created_at", "time"),
        *("currency", "amount", "total", "revenue", "conversion_type", "ago"),
    ),
    refusal=(
        "it is Meta's customer list for an audience, which says who the customers are but has no "
        "events and no times; a file of conversions needs event_name and event_time"
    ),
)

PRESETS = (EVENTS, AUDIENCE)
