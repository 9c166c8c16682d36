"""What Meta's Conversions API takes beyond a conversion: `MetaFields`.

Names and places are Meta's own, so that its documentation applies as it stands.
"""

# ruff: noqa: RUF009 - the calls make attrs fields, as `attrs.field` does

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.mappings import json_map
from anytrack_async.models.meta_fields import (
    flag,
    names_only,
    one_of,
    part,
    words,
)
from anytrack_async.models.meta_origin import MetaAppData, MetaAttributionData, MetaOriginalEvent
from anytrack_async.models.meta_parts import MetaCustomData, MetaUserData
from anytrack_async.models.validators import identifier

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
"""Which messenger a conversion happened in."""

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
"""How the customer stands with the business."""

Country: TypeAlias = Literal[0, 1]
"""1 for the United States, 0 to let Meta find out."""

State: TypeAlias = Literal[
    0, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013
]
"""1000 (California) to 1013 (Rhode Island), 0 to let Meta find out."""

_RESERVED = frozenset(
    (
        "event_name",
        "event_time",
        "event_id",
        "event_source_url",
        "user_data",
        "custom_data",
        "action_source",
    )
)


def _options(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    options = tuple(value) if isinstance(value, list | tuple) else (value,)
    if options not in ((), ("LDU",)):
        raise InvalidConversionError("data_processing_options", "must be () or ('LDU',)")
    return options


def _extra(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    extra = json_map("extra", value)
    if taken := _RESERVED & extra.keys():
        raise InvalidConversionError("extra", f"must not hold {', '.join(sorted(taken))}")
    return extra


@frozen(kw_only=True, repr=False)
class MetaFields:
    """What one conversion tells Meta besides; give only what differs from the settings.

    Attributes:
        action_source: where it happened; `MetaSettings.action_source` if not given.
        event_name: Meta's name for the event, e.g. ``"Subscribe"``; by the settings if not given.
        referrer_url: the page before the one it happened on.
        opt_out: True lets Meta use the event for attribution only.
        messaging_channel: for the action source ``"business_messaging"``.
        data_processing_options: ``("LDU",)`` for Limited Data Use, ``()`` for explicitly none.
        data_processing_options_country: 1 for the United States, 0 to let Meta find out.
        data_processing_options_state: 1000 (California) to 1013 (Rhode Island), 0 to let Meta
            find out.
        customer_segmentation: how the customer stands with the business.
        user_data: identifiers that only Meta has; all others are in `Customer`.
        custom_data: Meta's standard parameters; own ones go into `Conversion.custom_data`.
        app_data: the device, for app events.
        original_event_data: the earlier event that this one belongs to.
        attribution_data: which ad you attribute the conversion to.
        extra: parameters of the event that Meta added later, sent as given.

    Raises:
        InvalidConversionError: a field is not valid; the message names it.

    Source: Meta: Conversions API, server event parameters; data processing options.
    """

    action_source: ActionSource | None = one_of(ActionSource)
    event_name: str | None = field(default=None, validator=identifier(50, optional=True))
    referrer_url: str | None = words()
    opt_out: bool | None = flag()
    messaging_channel: MessagingChannel | None = one_of(MessagingChannel)
    data_processing_options: tuple[str, ...] | None = field(default=None, converter=_options)
    data_processing_options_country: Country | None = one_of(Country)
    data_processing_options_state: State | None = one_of(State)
    customer_segmentation: CustomerSegment | None = one_of(CustomerSegment)
    user_data: MetaUserData | None = part(MetaUserData)
    custom_data: MetaCustomData | None = part(MetaCustomData)
    app_data: MetaAppData | None = part(MetaAppData)
    original_event_data: MetaOriginalEvent | None = part(MetaOriginalEvent)
    attribution_data: MetaAttributionData | None = part(MetaAttributionData)
    extra: Mapping[str, Any] = field(factory=dict, converter=_extra, hash=False)

    __repr__ = names_only
