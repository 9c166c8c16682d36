"""Each parameter of Meta's own client can be given, and goes out as that client sends it."""

from __future__ import annotations

import json
from enum import Enum

import pytest
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.app_data import AppData
from facebook_business.adobjects.serverside.attribution_data import AttributionData
from facebook_business.adobjects.serverside.attribution_method import AttributionMethod
from facebook_business.adobjects.serverside.attribution_model import AttributionModel
from facebook_business.adobjects.serverside.attribution_setting import AttributionSetting
from facebook_business.adobjects.serverside.content import Content
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.decline_reason import DeclineReason
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.extended_device_info import ExtendedDeviceInfo
from facebook_business.adobjects.serverside.messaging_channel import MessagingChannel
from facebook_business.adobjects.serverside.original_event_data import OriginalEventData
from facebook_business.adobjects.serverside.user_data import UserData

from anytrack_async.models.meta import (
    MetaAppData,
    MetaAttributionData,
    MetaContent,
    MetaCustomData,
    MetaFields,
    MetaOriginalEvent,
    MetaUserData,
)
from anytrack_async.models.meta_types import ActionSource as OurActionSource
from tests.vendors.meta_events import SECONDS, THEN, ours, theirs

ONLY_HERE = {
    Event: {"customer_segmentation"},
    UserData: {"ig_account_id", "ig_sid", "page_scoped_user_id"},
    AppData: {"vendor_id"},
}
"""Parameters of Meta's documentation that its client does not know."""

BY_NAME = {
    Event: {"advanced_measurement_table"},
    UserData: {"f5first", "f5last", "fi", "dobd", "dobm", "doby"},
    CustomData: {"item_number"},
}
"""Parameters that Meta does not document: set by name, in `extra` or `custom_data`."""

# The conversion's own, and the two that Meta's client has under other names.
CONVERSION = {
    Event: {
        *("event_name", "event_time", "event_source_url", "event_id", "action_source"),
        *("user_data", "custom_data"),
    },
    UserData: {
        *("emails", "phones", "genders", "dates_of_birth", "last_names", "first_names"),
        *("cities", "states", "country_codes", "zip_codes", "external_ids"),
        *("client_ip_address", "client_user_agent", "fbc", "fbp"),
    },
    CustomData: {"value", "currency", "order_id", "custom_properties"},
    Content: {"product_id"},
    AttributionData: {"attribution_setting"},
}


@pytest.mark.parametrize(
    ("part", "model"),
    [
        (Event, MetaFields),
        (UserData, MetaUserData),
        (CustomData, MetaCustomData),
        (Content, MetaContent),
        (AppData, MetaAppData),
        (AttributionData, MetaAttributionData),
        (AttributionSetting, MetaAttributionData),
        (OriginalEventData, MetaOriginalEvent),
    ],
)
def test_every_parameter_of_metas_client_can_be_given(part, model):
    parameters = set(part.param_types) - CONVERSION.get(part, set())
    own = set(model.__annotations__)

    assert parameters - own == BY_NAME.get(part, set())
    if part not in (Event, AttributionData, AttributionSetting):
        assert own - parameters - {"extra", "id"} == ONLY_HERE.get(part, set())


def test_parameters_without_a_field_go_out_by_name():
    fields = MetaFields(
        extra={"advanced_measurement_table": "a"}, user_data=MetaUserData(extra={"fi": "f" * 64})
    )
    built = {"custom_data": {"item_number": "7"}, "meta": fields}

    assert ours(email="j@x.example", conversion=built) == theirs(
        user={"email": "j@x.example", "fi": "f" * 64},
        custom={"item_number": "7"},
        advanced_measurement_table="a",
    )


DEVICE = dict.fromkeys(ExtendedDeviceInfo.param_types, "") | {
    "ext_info_version": "i2",
    "os_version": "17",
}
APP = {
    "advertiser_tracking_enabled": True,
    "application_tracking_enabled": False,
    "campaign_ids": "c",
    "consider_views": True,
    "include_dwell_data": False,
    "include_video_data": True,
    "install_referrer": "r",
    "installer_package": "com.shop",
    "receipt_data": "paid",
    "url_schemes": ["shop"],
    "windows_attribution_id": "w",
}
ATTRIBUTION = {
    "scope": "click",
    "ad_id": "1",
    "adset_id": "2",
    "campaign_id": "3",
    "attribution_share": 0.5,
    "attr_window": 7,
    "attribution_value": 9.5,
    "attribution_source": "amm",
    "touchpoint_type": "view",
    "auditing_token": "a",
    "linkage_key": "l",
    "touchpoint_id": "t",
    "total_credit": 1.0,
    "partner_client_id": "p",
}
WINDOWS = {"inactivity_window_hours": 24, "reattribution_window_hours": 48}


def test_app_data_is_the_same_on_the_wire():
    fields = MetaFields(app_data=MetaAppData(**APP, extinfo=list(DEVICE.values())))

    assert {*APP, "extinfo"} == set(AppData.param_types)
    assert ours(conversion={"meta": fields}) == theirs(
        app_data=AppData(**APP, extinfo=ExtendedDeviceInfo(**DEVICE))
    )


def test_attribution_data_is_the_same_on_the_wire():
    fields = MetaAttributionData(
        **ATTRIBUTION,
        **WINDOWS,
        attribution_model="linear",
        attribution_method="srn",
        decline_reason="inactive",
        visit_time=THEN,
        touchpoint_ts=THEN,
    )
    built = AttributionData(
        **ATTRIBUTION,
        attribution_model=AttributionModel.LINEAR,
        attribution_method=AttributionMethod.SRN,
        decline_reason=DeclineReason.INACTIVE,
        visit_time=SECONDS,
        touchpoint_ts=SECONDS,
        attribution_setting=AttributionSetting(**WINDOWS),
    )

    assert set(built.normalize()) == set(AttributionData.param_types)
    assert ours(conversion={"meta": MetaFields(attribution_data=fields)}) == theirs(
        attribution_data=built
    )


def test_metas_client_cannot_write_an_attribution_model():
    built = AttributionData(attribution_model=AttributionModel.LINEAR).normalize()

    assert isinstance(built["attribution_model"], Enum)
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps(built)


@pytest.mark.parametrize("source", ActionSource, ids=str)
def test_action_sources_are_the_same_on_the_wire(source):
    assert ours(conversion={"meta": MetaFields(action_source=source.value)}) == theirs(
        action_source=source
    )


def test_metas_client_knows_all_action_sources():
    assert {source.value for source in ActionSource} == set(OurActionSource.__args__)


def test_the_rest_of_an_event_is_the_same_on_the_wire():
    earlier = {"event_name": "Lead", "order_id": "o0", "event_id": "e0"}
    fields = MetaFields(
        referrer_url="https://search.example",
        opt_out=True,
        messaging_channel="whatsapp",
        data_processing_options=("LDU",),
        data_processing_options_country=1,
        data_processing_options_state=1000,
        original_event_data=MetaOriginalEvent(**earlier, event_time=THEN),
    )
    page = "https://shop.example/thanks"

    assert ours(conversion={"page_url": page, "meta": fields}) == theirs(
        event_source_url=page,
        referrer_url="https://search.example",
        opt_out=True,
        messaging_channel=MessagingChannel.WHATSAPP,
        data_processing_options=["LDU"],
        data_processing_options_country=1,
        data_processing_options_state=1000,
        original_event_data=OriginalEventData(**earlier, event_time=SECONDS),
    )
