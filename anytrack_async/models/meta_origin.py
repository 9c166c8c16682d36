"""Where an event comes from, in Meta's parameters: the app, an earlier event, an ad."""

# ruff: noqa: RUF009 - the calls make attrs fields, as `attrs.field` does

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

from attrs import frozen

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.meta_fields import (
    count,
    flag,
    key,
    moment,
    names_only,
    number,
    one_of,
    several,
    words,
)

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
"""How a conversion's worth was shared out."""

AttributionMethod: TypeAlias = Literal["ard", "deeplink", "gpir", "invalid_response", "mir", "srn"]
"""How a measurement partner found the ad."""

_ZERO, _ONE = Decimal(0), Decimal(1)


def _extinfo(_: object, __: object, value: tuple[str, ...] | None) -> None:
    if value is None:
        return
    if len(value) != 16:
        raise InvalidConversionError("extinfo", "must have 16 values, '' where one is not known")
    if value[0] not in ("a2", "i2") or not value[4]:
        raise InvalidConversionError(
            "extinfo", "must begin with 'a2' (Android) or 'i2' (iOS) and name the OS version fifth"
        )


@frozen(kw_only=True, repr=False)
class MetaAppData:
    """The device and app of an app event.

    Attributes:
        advertiser_tracking_enabled: whether the customer allows tracking on the device.
        application_tracking_enabled: whether the customer allows tracking in the app.
        extinfo: 16 values in Meta's order: version ``"a2"`` or ``"i2"``, package, short version,
            long version, OS version, device model, locale, time zone abbreviation, carrier, screen
            width, height and density, CPU cores, storage and free storage in GB, time zone.
        campaign_ids: what Meta appended to the ad's deep link.
        install_referrer: where the installation came from.
        installer_package: which app installed this one.
        url_schemes: the app's own.
        vendor_id: iOS's id of the vendor.
        windows_attribution_id: the token of Windows 10.
        receipt_data: of an in-app purchase.
        consider_views: whether views of the ad count.
        include_dwell_data: whether Meta is to return how long the ad was looked at.
        include_video_data: whether Meta is to return video data.

    Source: Meta: Conversions API, app data parameters.
    """

    advertiser_tracking_enabled: bool | None = flag()
    application_tracking_enabled: bool | None = flag()
    extinfo: tuple[str, ...] | None = several("extinfo", validator=_extinfo)
    campaign_ids: str | None = words()
    install_referrer: str | None = words()
    installer_package: str | None = words()
    url_schemes: tuple[str, ...] | None = several("url_schemes")
    vendor_id: str | None = key()
    windows_attribution_id: str | None = key()
    receipt_data: str | None = words()
    consider_views: bool | None = flag()
    include_dwell_data: bool | None = flag()
    include_video_data: bool | None = flag()

    __repr__ = names_only


@frozen(kw_only=True, repr=False)
class MetaOriginalEvent:
    """The earlier event that a delayed one belongs to.

    Attributes:
        event_name: of the earlier event.
        event_time: when that was; given with a time zone, kept in UTC.
        order_id: of the earlier event.
        event_id: of the earlier event.

    Source: Meta: Conversions API, original event data parameters.
    """

    event_name: str | None = words()
    event_time: datetime | None = moment("event_time")
    order_id: str | None = key()
    event_id: str | None = key()

    __repr__ = names_only


@frozen(kw_only=True, repr=False)
class MetaAttributionData:
    """Which ad a conversion is attributed to, by you or a measurement partner.

    Attributes:
        ad_id: the ad.
        adset_id: its ad set.
        campaign_id: its campaign.
        attribution_share: the ad's share of the conversion, 0 to 1.
        attribution_value: the ad's share of the value, major units.
        attribution_model: how the shares were found.
        attribution_source: who found them.
        attribution_method: how a measurement partner found the ad.
        attr_window: the attribution window, days.
        scope: what is attributed, e.g. ``"click"``.
        touchpoint_type: the kind of the contact.
        touchpoint_ts: when the contact was; given with a time zone, kept in UTC.
        touchpoint_id: of the contact.
        visit_time: when the visit was; given with a time zone, kept in UTC.
        decline_reason: why the conversion is not attributed to the ad.
        auditing_token: a measurement partner's token.
        linkage_key: links the events of one contact.
        total_credit: all shares together.
        partner_client_id: of the measurement partner's client.
        inactivity_window_hours: after which a customer counts as inactive, hours.
        reattribution_window_hours: within which a conversion is attributed anew, hours.

    Source: Meta: Conversions API, attribution data (a limited beta: Meta may refuse it).
    """

    ad_id: str | None = key()
    adset_id: str | None = key()
    campaign_id: str | None = key()
    attribution_share: Decimal | None = number("attribution_share", lowest=_ZERO, highest=_ONE)
    attribution_value: Decimal | None = number("attribution_value")
    attribution_model: AttributionModel | None = one_of(AttributionModel)
    attribution_source: str | None = words()
    attribution_method: AttributionMethod | None = one_of(AttributionMethod)
    attr_window: int | None = count()
    scope: str | None = words()
    touchpoint_type: str | None = words()
    touchpoint_ts: datetime | None = moment("touchpoint_ts")
    touchpoint_id: str | None = key()
    visit_time: datetime | None = moment("visit_time")
    decline_reason: str | None = words()
    auditing_token: str | None = key()
    linkage_key: str | None = key()
    total_credit: Decimal | None = number("total_credit")
    partner_client_id: str | None = key()
    inactivity_window_hours: int | None = count()
    reattribution_window_hours: int | None = count()

    __repr__ = names_only
