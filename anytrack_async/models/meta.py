"""`MetaFields`: parameters of Meta's Conversions API that a conversion has no field for.

The TypedDicts below are the table of these parameters: each line has Meta's name and a type, and
the type determines the rule; `meta_types` has the types. A nested TypedDict is checked by its own
lines. To add a parameter, add its line.

Source: Meta: Conversions API, parameters.
"""

# No `from __future__ import annotations`: the rules are read from the annotations, and compiling
# them from text would take most of the import.

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache, partial
from types import NoneType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeAlias,
    TypedDict,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.identifiers import id_from_number, without_decimal_zero
from anytrack_async.models.mappings import join_path
from anytrack_async.models.meta_types import (
    ActionSource,
    AppFlag,
    AttributionMethod,
    AttributionModel,
    ContentType,
    Count,
    CustomerSegment,
    DeliveryCategory,
    DeviceInfo,
    EventName,
    Flag,
    Id,
    MessagingChannel,
    NewIdentifiers,
    NewParameters,
    Number,
    Price,
    ProcessingCountry,
    ProcessingOptions,
    ProcessingState,
    Share,
    Text,
    Texts,
    Time,
    VisitorId,
    VisitorText,
    VisitorUrl,
    is_single,
)
from anytrack_async.models.missing import BLANK, is_missing, is_missing_number

_Rule: TypeAlias = Callable[[str, Any], Any]
"""Takes a parameter's path and value; returns the value to keep, or None for "not given".

Raises:
    InvalidConversionError: the value is not allowed; the message has the path, never the value.
"""

# Rules


def _one_of(allowed: tuple[object, ...], path: str, value: object) -> object:
    """Return the one of *allowed* that *value* is: ``" Website"`` is "website", ``1000.0`` 1000."""
    # The type counts: True equals 1, and a list cannot be looked up in some containers.
    if type(value) is not type(allowed[0]) or value not in allowed:
        value = value.value if isinstance(value, Enum) else value
        text = value if isinstance(value, str) else id_from_number(value)
        word = None if text is None else without_decimal_zero(text.strip(BLANK).lower())
        by_text = {str(choice): choice for choice in allowed}
        if text is not None and is_missing_number(text):
            return None
        if word not in by_text:
            raise InvalidConversionError(path, f"must be one of {', '.join(by_text)}")
        return by_text[word]
    return value


def _contents(path: str, value: Any) -> tuple[Any, ...]:
    contents = enumerate((value,) if is_single(value) else value)
    return tuple(_checked(MetaContent, f"{path}[{index}]", content) for index, content in contents)


class _Parameters(dict[str, Any]):
    """Checked parameters. The `repr` shows their names, never their values."""

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{name!r}: …' for name in self)}}}"


def _checked(parameters: type, path: str, values: Any) -> _Parameters:
    """Return a copy of *values* in the order of *parameters*, a TypedDict, without missing ones."""
    if not isinstance(values, Mapping):
        raise InvalidConversionError(
            path, f"must be {parameters.__name__} or a dict, got {type(values).__name__}"
        )
    rules = _rules_of(parameters)
    for name in values:
        if name not in rules:
            raise InvalidConversionError(
                join_path(path, name),
                f"is not a parameter of {parameters.__name__}; it has {', '.join(rules)}",
            )
    checked = _Parameters()
    for name, rule in rules.items():
        if not is_missing(value := values.get(name)):
            value = rule(f"{path}.{name}", value)
            if value is not None:
                checked[name] = value
    return checked


@cache
def _rules_of(parameters: type) -> Mapping[str, _Rule]:
    hints = get_type_hints(parameters, include_extras=True)
    return {name: _rule_of(hint) for name, hint in hints.items()}


def _rule_of(hint: Any) -> _Rule:
    """Return the rule of a type: `Text | None` → `text`."""
    (hint,) = (part for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is Annotated:
        return cast("_Rule", hint.__metadata__[0])
    if get_origin(hint) is Literal:
        return partial(_one_of, get_args(hint))
    return partial(_checked, hint)


# The parameters


class MetaUserData(TypedDict, total=False):
    """Identifiers of Meta's own products, never hashed; all others are in `Customer`.

    Attributes:
        subscription_id: of the customer's subscription.
        fb_login_id: the id your app gets on Facebook Login.
        lead_id: of a lead from Meta's lead ads; not your own lead id.
        anon_id: the app's install id.
        madid: the device's advertising id, Android or iOS.
        page_id: of the page a messenger bot belongs to.
        page_scoped_user_id: of the customer, for that page.
        ctwa_clid: of the click on an ad that opens WhatsApp.
        ig_account_id: of your Instagram account.
        ig_sid: of the customer, for that account.
        extra: identifiers that Meta added later, sent as given.

    Source: Meta: Conversions API, customer information parameters.
    """

    subscription_id: Id | None
    fb_login_id: Id | None
    lead_id: Id | None
    anon_id: Id | None
    madid: Id | None
    page_id: Id | None
    page_scoped_user_id: Id | None
    ctwa_clid: VisitorId | None
    ig_account_id: Id | None
    ig_sid: Id | None
    extra: NewIdentifiers | None


class MetaContent(TypedDict, total=False):
    """One product of an event, with parameters that `LineItem` does not have.

    Attributes:
        id: the product's id or SKU.
        quantity: how many.
        item_price: the unit price in the conversion's currency, major units.
        title: the product's name.
        description: of the product.
        brand: of the product.
        category: of the product.
        delivery_category: how it reaches the customer.

    Source: Meta: Conversions API, custom data parameters.
    """

    id: Id | None
    quantity: Count | None
    item_price: Price | None
    title: Text | None
    description: Text | None
    brand: Text | None
    category: Text | None
    delivery_category: DeliveryCategory | None


Contents: TypeAlias = Annotated[MetaContent | Sequence[MetaContent], _contents]
"""One product or several; kept as a tuple."""


class MetaCustomData(TypedDict, total=False):
    """Meta's standard parameters of a purchase or other event.

    Value, currency and order id are the conversion's own; products come from its items unless
    given here.

    Attributes:
        net_revenue: revenue minus costs, major units; may be negative.
        content_name: of the page or product.
        content_category: of the page or product.
        content_ids: ids of the products.
        contents: the products.
        content_type: whether the ids are those of products or of product groups.
        delivery_category: how the purchase reaches the customer.
        predicted_ltv: the customer's expected lifetime value, major units.
        num_items: how many items were bought.
        status: of a registration.
        search_string: the customer's search query.

    Source: Meta: Conversions API, custom data parameters.
    """

    net_revenue: Number | None
    content_name: Text | None
    content_category: Text | None
    content_ids: Texts | None
    contents: Contents | None
    content_type: ContentType | None
    delivery_category: DeliveryCategory | None
    predicted_ltv: Number | None
    num_items: Count | None
    status: Text | None
    search_string: VisitorText | None


class MetaAppData(TypedDict, total=False):
    """The device and app of an app event, which needs the first three.

    Attributes:
        advertiser_tracking_enabled: whether the customer allows tracking on the device: True or 1,
            False or 0.
        application_tracking_enabled: whether the customer allows tracking in the app.
        extinfo: 16 values in Meta's order: version ``"a2"`` or ``"i2"``, package, short version,
            long version, OS version, device model, locale, time zone abbreviation, carrier, screen
            width, height and density, CPU cores, storage and free storage in GB, time zone.
        campaign_ids: the ids Meta appended to the ad's deep link.
        install_referrer: where the installation came from.
        installer_package: the app that installed this one.
        url_schemes: the app's own.
        vendor_id: iOS's id of the vendor.
        windows_attribution_id: the token of Windows 10.
        receipt_data: of an in-app purchase.
        consider_views: whether views of the ad count.
        include_dwell_data: whether Meta is to return how long the ad was looked at.
        include_video_data: whether Meta is to return video data.

    Source: Meta: Conversions API, app data parameters.
    """

    advertiser_tracking_enabled: AppFlag | None
    application_tracking_enabled: AppFlag | None
    extinfo: DeviceInfo | None
    campaign_ids: VisitorText | None
    install_referrer: VisitorText | None
    installer_package: Text | None
    url_schemes: Texts | None
    vendor_id: Id | None
    windows_attribution_id: Id | None
    receipt_data: Text | None
    consider_views: Flag | None
    include_dwell_data: Flag | None
    include_video_data: Flag | None


class MetaOriginalEvent(TypedDict, total=False):
    """The earlier event that a delayed one belongs to.

    Attributes:
        event_name: of the earlier event.
        event_time: of the earlier event.
        order_id: of the earlier event.
        event_id: of the earlier event.

    Source: Meta: Conversions API, original event data parameters.
    """

    event_name: Text | None
    event_time: Time | None
    order_id: Id | None
    event_id: Id | None


class MetaAttributionData(TypedDict, total=False):
    """The ad that you or a measurement partner attribute a conversion to.

    Attributes:
        ad_id: the ad.
        adset_id: its ad set.
        campaign_id: its campaign.
        attribution_share: the ad's share of the conversion, 0 to 1.
        attribution_value: the ad's share of the value, major units.
        attribution_model: how the shares were found.
        attribution_source: the party that found them.
        attribution_method: how a measurement partner found the ad.
        attr_window: the attribution window, days.
        scope: the kind of attribution, e.g. ``"click"``.
        touchpoint_type: the kind of the contact.
        touchpoint_ts: the time of the contact.
        touchpoint_id: of the contact.
        visit_time: the time of the visit.
        decline_reason: why the conversion is not attributed to the ad.
        auditing_token: a measurement partner's token.
        linkage_key: links the events of one contact.
        total_credit: all shares together.
        partner_client_id: of the measurement partner's client.
        inactivity_window_hours: after which a customer counts as inactive, hours.
        reattribution_window_hours: within which a conversion is attributed again, hours.

    Source: Meta: Conversions API, attribution data (a limited beta: Meta may refuse it).
    """

    ad_id: Id | None
    adset_id: Id | None
    campaign_id: Id | None
    attribution_share: Share | None
    attribution_value: Number | None
    attribution_model: AttributionModel | None
    attribution_source: Text | None
    attribution_method: AttributionMethod | None
    attr_window: Count | None
    scope: Text | None
    touchpoint_type: Text | None
    touchpoint_ts: Time | None
    touchpoint_id: Id | None
    visit_time: Time | None
    decline_reason: Text | None
    auditing_token: Id | None
    linkage_key: Id | None
    total_credit: Number | None
    partner_client_id: Id | None
    inactivity_window_hours: Count | None
    reattribution_window_hours: Count | None


class MetaFields(TypedDict, total=False):
    """Parameters of one conversion for Meta alone; give only those that differ from the settings.

    A plain dict with the same keys works too. `Conversion` checks the values and keeps a copy.
    None, blank text and NaN count as not given.

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
        customer_segmentation: the customer's relation to the business.
        user_data: identifiers of Meta's own products; all others are in `Customer`.
        custom_data: Meta's standard parameters; your own go into `Conversion.custom_data`.
        app_data: the device, for app events.
        original_event_data: the earlier event that this one belongs to.
        attribution_data: the ad you attribute the conversion to.
        extra: parameters of the event that Meta added later, sent as given.

    Source: Meta: Conversions API, server event parameters; data processing options.
    """

    action_source: ActionSource | None
    event_name: EventName | None
    referrer_url: VisitorUrl | None
    opt_out: Flag | None
    messaging_channel: MessagingChannel | None
    data_processing_options: ProcessingOptions | None
    data_processing_options_country: ProcessingCountry | None
    data_processing_options_state: ProcessingState | None
    customer_segmentation: CustomerSegment | None
    user_data: MetaUserData | None
    custom_data: MetaCustomData | None
    app_data: MetaAppData | None
    original_event_data: MetaOriginalEvent | None
    attribution_data: MetaAttributionData | None
    extra: NewParameters | None


def meta_fields(value: MetaFields) -> MetaFields:
    """Return a checked copy of *value*: parameters in a fixed order, without those that are None.

    Raises:
        InvalidConversionError: a parameter is unknown or has a wrong value; the message starts with
            its path, e.g. ``meta.custom_data.net_revenue``.
    """
    return cast("MetaFields", _checked(MetaFields, "meta", value))
