"""`Conversion`: one sale, lead, sign-up or event of your own; its `LineItem`s and event id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, TypedDict, Unpack, cast

import attrs

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.clicks import to_clicks, to_sub_ids
from anytrack_async.models.consent import Consent, to_consent
from anytrack_async.models.customer import Customer
from anytrack_async.models.frozen import fast_init
from anytrack_async.models.identifiers import (
    Identifier,
    event_id_of,
    id_text,
    optional_text,
    to_anytrack_id,
    to_event_id,
    to_event_name,
    to_order_id,
)
from anytrack_async.models.line_item import LineItem as LineItem
from anytrack_async.models.mappings import NO_VALUES, to_custom_data
from anytrack_async.models.meta import MetaFields, meta_fields
from anytrack_async.models.missing import is_iterable, is_missing, unwrapped
from anytrack_async.models.notes import NOTES, Traceable, forget_notes
from anytrack_async.models.validators import (
    NOT_GIVEN,
    Amount,
    currency_code,
    to_revenue,
    to_timestamp,
    utc_now,
)
from anytrack_async.models.visitor import (
    Address,
    to_click_id,
    to_ip_address,
    visitor_id,
    visitor_name,
    visitor_text,
    visitor_url,
)

if TYPE_CHECKING:
    from anytrack_async.models.request import Visitor

_NO_ITEMS: tuple[()] = ()
_ZERO = Decimal(0)


class ConversionType(StrEnum):
    """The kind of a conversion."""

    SALE = "sale"
    LEAD = "lead"
    SIGNUP = "signup"
    CUSTOM = "custom"


ConversionTypeName: TypeAlias = Literal["sale", "lead", "signup", "custom"]
"""A `ConversionType` as text, for type checkers."""

_TYPES = {str(member): member for member in ConversionType}  # four times as fast as the class


def _type(value: ConversionType | ConversionTypeName) -> ConversionType:
    if NOTES:  # this is the first field
        forget_notes()
    try:
        return _TYPES[value]
    except (KeyError, TypeError):
        problem = f"must be one of {', '.join(ConversionType)}"
        raise InvalidConversionError("conversion_type", problem) from None


def _missing_revenue(kind: ConversionType) -> Decimal:
    if kind is ConversionType.SALE:
        raise InvalidConversionError("revenue", "must be a number: a sale needs an amount")
    return _ZERO


def _customer(value: Customer | None) -> Customer | None:
    argument: Any = value
    if argument is None or type(argument) is Customer:
        return argument
    if isinstance(argument, Customer):
        return cast("Customer", unwrapped(argument))
    if is_missing(argument):  # a gap in a data frame
        return None
    problem = f"must be a Customer, got {type(argument).__name__}"
    raise InvalidConversionError("customer", problem)


def _meta(value: MetaFields | None) -> MetaFields | None:
    if value is None or (type(value) is not dict and is_missing(value)):
        return None
    return meta_fields(value)


def _items(value: Iterable[LineItem] | None) -> tuple[LineItem, ...]:
    if value is None or value is _NO_ITEMS:  # not `==`: an array answers for each of its items
        return _NO_ITEMS
    items: tuple[Any, ...]
    if type(value) is list or type(value) is tuple:  # first: an abstract class takes long to ask
        items = tuple(value)
    else:
        argument: Any = () if is_missing(value) else value
        items = tuple(argument) if is_iterable(argument) else (argument,)
    for item in items:
        if not isinstance(item, LineItem):
            raise InvalidConversionError(
                "items", f"must be LineItem objects, got {type(item).__name__}"
            )
    return items


@fast_init
@attrs.frozen(kw_only=True)
class Conversion(Traceable):
    """One sale, lead, sign-up or event of your own.

    The constructor checks every field: a conversion that exists can be stored and sent, unless it
    takes more than 1 MiB when it is stored, which `submit` refuses. The `repr` leaves out
    everything that may identify the customer.

    Blank text and NaN count as not given in every optional field, because forms, headers and data
    frames have such gaps; text that cannot be seen, such as a zero-width space, is blank. Integers,
    UUIDs, members of enumerations, and whole numbers of other types become text where an id is
    expected; so do a spreadsheet's: ``"1003.0"`` is the order ``"1003"``. An order id or event id
    that programs write where there is none (``"nan"``, ``"null"``, ``"undefined"``) is left out. So
    is an order id that a table has rounded (``"1.2021E+17"``), since many orders have it.

    The fields that a visitor controls never raise, because a visitor must not be able to break a
    checkout: `click_id`, `source`, `campaign_id`, `ad_id`, `ip_address`, `user_agent`, `page_url`
    and the values in `sub_ids`. In these, control characters and halves of surrogate pairs are
    removed. User agents and URLs are cut to 4,096 characters, URLs between two parameters. An id
    that is too long or has such characters is left out, and so is a value of a wrong type;
    `weakened` names the kinds, and ``client.stats()`` counts them. The
    fields that the shop's code sets are strict, unless they are blank: `event_id`, `revenue`,
    `currency`, `timestamp`. A conversion type and the revenue of a sale cannot be blank either.

    Attributes:
        conversion_type: sale, lead, signup or custom.
        click_id: AnyTrack's id of the click that led here; at most 1,024 characters.
        revenue: amount in *currency*, a `Decimal` in major units (9.90, not 990). Text needs a
            decimal point: ``"49.90"``.
        currency: ISO 4217 code, upper case.
        timestamp: when it happened; needs a time zone, is kept in UTC. Default: now.
        order_id: your id of the order; makes `event_id` repeatable.
        event_name: the name of a custom event, e.g. ``"Subscribed"``.
        event_id: its key; conversions with equal keys are the same one everywhere. Default:
            ``"<type>:<order_id>"`` (a custom event: ``"custom:<event_name>:<order_id>"``),
            so that the same order imported twice is the same event; a UUIDv7 without an order id.
            An id that is made from the order is made again by `attrs.evolve` with another order id,
            type or event name; every other id stays.
        id: AnyTrack's id, once it has one.
        source: where the visitor came from.
        campaign_id: the campaign's id there.
        ad_id: the ad's id there.
        sub_ids: sub ids, name → text; numbers become text; None, NaN, blank text, text of more
            than 4,096 characters and values of other types are left out.
        ip_address: the visitor's public address: the first one in a header ``X-Forwarded-For`` or
            ``Forwarded``, without its port, as IPv4 where it is mapped to IPv6
            (``::ffff:203.0.113.5``). Private, loopback, link-local, unspecified and reserved
            addresses are left out.
        user_agent: the visitor's browser.
        page_url: the page it happened on.
        custom_data: your own fields; anything JSON can hold, at most 64 levels deep; NaN becomes
            None, and text loses halves of surrogate pairs. It is a copy, not to be changed: if JSON
            cannot hold it any more, an outbox on disk raises `TypeError`, and with one in memory
            AnyTrack and Meta reject it.
        items: lines of the order.
        customer: the visitor's identifiers.
        meta: parameters for Meta alone, as `MetaFields` or a dict.
        clicks: click ids of advertising services, by the name of their parameter in a link, such as
            ``{"gclid": "Cj0K…", "fbclid": "IwAR…"}``; see `Visitor`. Meta's ``fbc`` is made from
            ``fbclid`` if the customer has none.
        consent: the visitor's consent by purpose, as `Consent` or a dict; None if it is not known.
            Each destination has a rule for it, see `ConsentAction`.

    Raises:
        InvalidConversionError: a field has a wrong value; the message starts with the field's name
            or path.
    """

    conversion_type: ConversionType = attrs.field(converter=_type)
    revenue: Decimal = attrs.field(default=_ZERO, converter=to_revenue)
    currency: str = attrs.field(default="USD", converter=currency_code)
    timestamp: datetime = attrs.field(factory=utc_now, converter=to_timestamp)
    order_id: str | None = attrs.field(default=None, converter=to_order_id)
    event_name: str | None = attrs.field(default=None, converter=to_event_name)
    _event_id: str | None = attrs.field(
        default=None, converter=to_event_id, eq=False, repr=False
    )  # the argument `event_id`
    event_id: str = attrs.field(init=False, default=attrs.Factory(event_id_of, takes_self=True))
    id: str | None = attrs.field(default=None, converter=to_anytrack_id)
    click_id: str | None = attrs.field(default=None, converter=to_click_id, repr=False)
    source: str | None = attrs.field(default=None, converter=visitor_name)
    campaign_id: str | None = attrs.field(default=None, converter=visitor_id)
    ad_id: str | None = attrs.field(default=None, converter=visitor_id)
    ip_address: str | None = attrs.field(default=None, converter=to_ip_address, repr=False)
    user_agent: str | None = attrs.field(default=None, converter=visitor_text, repr=False)
    page_url: str | None = attrs.field(default=None, converter=visitor_url, repr=False)
    sub_ids: Mapping[str, str] = attrs.field(
        default=NO_VALUES, converter=to_sub_ids, repr=False, hash=False
    )
    custom_data: Mapping[str, Any] = attrs.field(
        factory=dict, converter=to_custom_data, repr=False, hash=False
    )
    items: tuple[LineItem, ...] = attrs.field(default=(), converter=_items, repr=False)
    customer: Customer | None = attrs.field(default=None, converter=_customer, repr=False)
    meta: MetaFields | None = attrs.field(default=None, converter=_meta, repr=False, hash=False)
    clicks: Mapping[str, str] = attrs.field(
        default=NO_VALUES, converter=to_clicks, repr=False, hash=False
    )
    consent: Consent | None = attrs.field(default=None, converter=to_consent)

    def __attrs_post_init__(self) -> None:
        if self.revenue is NOT_GIVEN:
            object.__setattr__(self, "revenue", _missing_revenue(self.conversion_type))
        if NOTES:
            super().__attrs_post_init__()

    @property
    def weakened(self) -> tuple[str, ...]:
        """Kinds of the values that were left out or cut, also of the customer's.

        E.g. ``("private IP addresses", "unusable click ids")``; nearly always empty.
        """
        own = getattr(self, "_weakened", ())
        customers = () if self.customer is None else self.customer.weakened
        return tuple(dict.fromkeys(own + customers)) if customers else own

    # Plain data. Its module imports this one, and few programs need it.

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Return the conversion in *record*, as `to_dict` and `to_records` write it.

        Records of other programs are read as well: amounts may be numbers, a customer's fields
        single values, and None or NaN counts as not given.

        Raises:
            InvalidConversionError: a field is unknown, missing or invalid; the message names it,
                and for an unknown one the nearest field.
        """
        from anytrack_async.models.plain import from_dict

        return from_dict(record, cls)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the conversion in *text*, a JSON object; see `from_dict`.

        Raises:
            InvalidConversionError: *text* is not JSON, or see `from_dict`.
        """
        from anytrack_async.models.plain import parse_json

        return cls.from_dict(parse_json(text))

    def to_dict(self) -> dict[str, Any]:
        """Return its fields as values that JSON has, for `from_dict`; those not given are left out.

        Amounts are text with every digit (``"49.90"``), times ISO 8601 text with microseconds.
        """
        from anytrack_async.models.plain import to_dict

        return to_dict(self)

    def to_json(self) -> str:
        """Return `to_dict` as JSON, for `from_json`."""
        from anytrack_async.models.plain import to_json

        return to_json(self)

    @classmethod
    def sale(
        cls,
        *,
        revenue: Amount,
        currency: str | None = "USD",
        click_id: Identifier | None = None,
        product_id: Identifier | None = None,
        **fields: Unpack[ConversionFields],
    ) -> Self:
        """Return a sale; *product_id* is stored as ``custom_data.product_id``.

        This method and the three below take a ``context``, the `Visitor` of the request: its values
        fill the fields that are not given.
        """
        if product_id is not None:
            fields["custom_data"] = _with_id(fields.get("custom_data"), "product_id", product_id)
        return cls._of(
            conversion_type=ConversionType.SALE,
            click_id=click_id,
            revenue=revenue,
            currency=currency,
            **fields,
        )

    @classmethod
    def lead(
        cls,
        *,
        click_id: Identifier | None = None,
        lead_id: Identifier | None = None,
        **fields: Unpack[PricedFields],
    ) -> Self:
        """Return a lead; *lead_id* travels as ``custom_data.lead_id``."""
        if lead_id is not None:
            fields["custom_data"] = _with_id(fields.get("custom_data"), "lead_id", lead_id)
        return cls._of(conversion_type=ConversionType.LEAD, click_id=click_id, **fields)

    @classmethod
    def signup(cls, *, click_id: Identifier | None = None, **fields: Unpack[PricedFields]) -> Self:
        """Return a sign-up."""
        return cls._of(conversion_type=ConversionType.SIGNUP, click_id=click_id, **fields)

    @classmethod
    def custom(
        cls, event_name: str, *, click_id: Identifier | None = None, **fields: Unpack[PricedFields]
    ) -> Self:
        """Return an event of your own, called *event_name*."""
        return cls._of(
            conversion_type=ConversionType.CUSTOM,
            event_name=id_text("event_name", event_name, 50),
            click_id=click_id,
            **fields,
        )

    @classmethod
    def _of(cls, *, context: Visitor | None = None, **fields: Any) -> Self:
        if context is None:
            return cls(**fields)
        # Imported here: only web applications have requests.
        from anytrack_async.models.request import arguments_with, note_weaknesses

        conversion = cls(**arguments_with(context, fields))
        note_weaknesses(conversion, context)
        return conversion


ARGUMENTS: Final[Mapping[str, Any]] = {
    str(field.alias): field for field in attrs.fields(Conversion) if field.init
}
"""Argument of `Conversion` → its field; each is also the name of an attribute."""


def _with_id(
    custom_data: Mapping[str, Any] | None, name: str, value: Identifier
) -> Mapping[str, Any]:
    text = optional_text(name, value)
    return (custom_data or {}) if text is None else {**(custom_data or {}), name: text}


class ConversionFields(TypedDict, total=False):
    """Keyword arguments that ``Conversion.sale``, its siblings and ``track_*`` methods take.

    All but ``context``, the `Visitor` of a request, are fields of a `Conversion`.
    """

    event_id: Identifier | None
    id: Identifier | None
    timestamp: datetime | None
    source: Identifier | None
    campaign_id: Identifier | None
    ad_id: Identifier | None
    order_id: Identifier | None
    sub_ids: Mapping[str, str]
    ip_address: Address | None
    user_agent: str | None
    page_url: str | None
    custom_data: Mapping[str, Any]
    items: Iterable[LineItem]
    customer: Customer | None
    meta: MetaFields | None
    clicks: Mapping[str, str]
    consent: Consent | None
    context: Visitor | None


class PricedFields(ConversionFields, total=False):
    """`ConversionFields`, revenue and currency."""

    revenue: Amount
    currency: str | None
