"""Results of AnyTrack's read API: conversions, touchpoints, attribution, affiliates, days."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Self

import attrs

from anytrack_async.errors import InvalidConversionError, UnsendableError
from anytrack_async.models.conversion import ARGUMENTS, Conversion
from anytrack_async.models.validators import number, utc

__all__ = [
    "AffiliatePerformance",
    "Attribution",
    "DailyReport",
    "RecordedConversion",
    "Touchpoint",
]


_INFINITY = Decimal("Infinity")


def _without_converters(_: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    return [field.evolve(converter=None, default=_converted_default(field)) for field in fields]


def _converted_default(field: attrs.Attribute[Any]) -> Any:
    # The default of `sub_ids` is None, of which its converter makes an empty mapping.
    convert: Any = field.converter
    if field.default is not None or convert is None:
        return field.default
    return attrs.Factory(partial(convert, None))


@attrs.frozen(kw_only=True, eq=False, field_transformer=_without_converters)
class RecordedConversion(Conversion):
    """A conversion as AnyTrack has it: its fields have the types of a `Conversion`, but no limits.

    AnyTrack may have a negative revenue, the currency ``"USDT"``, an event name of 60 characters,
    an id of any length, or a private IP address: all of these are read as they are. `submit`,
    `track_many` and the ``sync_with_…`` methods take a recorded conversion like any other, and
    validate it by `to_conversion`.

    It is equal to any conversion with the same fields. `items`, `customer`, `meta`, `clicks` and
    `consent` are empty, because AnyTrack has none; click ids are in `custom_data`.
    """

    def to_conversion(self) -> Conversion:
        """Return it as a conversion that can be sent.

        A value that a visitor controls is cleaned, cut or left out, as `Conversion` describes. To
        correct any other field, use ``attrs.evolve(recorded, event_name="…").to_conversion()``.

        Raises:
            InvalidConversionError: some fields are not valid; the message names each of them.
        """
        try:
            return Conversion(**{name: getattr(self, name) for name in ARGUMENTS})
        except InvalidConversionError as exc:
            raise self._invalid_fields() or exc from None

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Return the recorded conversion in *record*, as `to_dict` writes it; there are no limits.

        Raises:
            InvalidConversionError: a field is unknown or missing, or type, time or revenue cannot
                be read; the message names the field.
        """
        from anytrack_async.models.plain import from_dict

        recorded = from_dict(record, cls)
        return attrs.evolve(
            recorded,
            conversion_type=ARGUMENTS["conversion_type"].converter(recorded.conversion_type),
            revenue=number("revenue", recorded.revenue, lowest=-_INFINITY, highest=_INFINITY),
            timestamp=utc("timestamp", recorded.timestamp),
            items=tuple(recorded.items),
        )

    def _invalid_fields(self) -> InvalidConversionError | None:
        errors: list[InvalidConversionError] = []
        for name, field in ARGUMENTS.items():
            try:
                if field.converter is not None:
                    field.converter(getattr(self, name))
            except InvalidConversionError as exc:
                errors.append(exc)
        if len(errors) < 2:
            return None
        # "revenue must not be negative; currency must be …", as the message of one error
        problem = "; ".join([errors[0].problem, *map(str, errors[1:])])
        return InvalidConversionError(errors[0].name, problem)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Conversion):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in ARGUMENTS)

    __hash__ = Conversion.__hash__


def to_sendable(value: object) -> Conversion:
    """Return *value* as a conversion that can be sent: only a recorded one needs validation.

    Raises:
        UnsendableError: a recorded conversion is not valid; the message names the fields.
        TypeError: *value* is not a `Conversion`.
    """
    if isinstance(value, RecordedConversion):
        try:
            return value.to_conversion()
        except InvalidConversionError as exc:
            raise UnsendableError(exc.name, exc.problem) from None
    if not isinstance(value, Conversion):
        raise TypeError(f"expected Conversion objects, got {type(value).__name__}")
    return value


def _timestamp(value: datetime) -> datetime:
    return utc("timestamp", value)


@attrs.frozen(kw_only=True)
class Touchpoint:
    """One contact of a visitor with an ad or page before a conversion.

    Attributes:
        type: ``"click"`` or ``"view"``.
        source: where it happened.
        timestamp: when it happened; aware, UTC.
        campaign_id: the campaign's id at the source, if known.
    """

    type: str
    source: str | None = None
    timestamp: datetime = attrs.field(converter=_timestamp)
    campaign_id: str | None = None


@attrs.frozen(kw_only=True)
class Attribution:
    """How a conversion's value is divided among its touchpoints.

    Attributes:
        model: ``"last_click"``, ``"first_click"``, ``"linear"``, ``"time_decay"`` or a newer one.
        weights: touchpoint key → share, 0 to 1.
    """

    model: str
    weights: Mapping[str, float] = attrs.field(factory=dict, hash=False)


@attrs.frozen(kw_only=True)
class AffiliatePerformance:
    """Clicks, conversions and revenue of one affiliate in a date range.

    Attributes:
        affiliate_id: the affiliate.
        clicks: number of clicks.
        conversions: number of conversions.
        revenue: major units of the account's currency.
        epc: earnings per click, major units.
        conversion_rate: conversions per click, 0 to 1.
    """

    affiliate_id: str
    clicks: int = 0
    conversions: int = 0
    revenue: Decimal = Decimal(0)
    epc: Decimal = Decimal(0)
    conversion_rate: float = 0.0


@attrs.frozen(kw_only=True)
class DailyReport:
    """The totals of one day.

    Attributes:
        date: the day, UTC.
        total_revenue: major units of the account's currency.
        total_conversions: number of conversions.
        avg_order_value: revenue per conversion, major units.
        by_source: source → revenue.
        by_campaign: campaign id → revenue.
    """

    date: date
    total_revenue: Decimal = Decimal(0)
    total_conversions: int = 0
    avg_order_value: Decimal = Decimal(0)
    by_source: Mapping[str, Decimal] = attrs.field(factory=dict, hash=False)
    by_campaign: Mapping[str, Decimal] = attrs.field(factory=dict, hash=False)
