"""The same conversion, made into an event by Meta's own client and by this library.

They agree but for what is listed here, where this library does what Meta's documentation says:

* lists: Meta's client gives them in random order;
* currency: in lower case there, as ISO 4217 writes it here;
* external ids: never hashed there; here hashed unless the settings say otherwise;
* birth dates: hashed as given there; here only after they are brought into Meta's form;
* names: that client keeps apostrophes and hyphens, Meta's documentation asks for none;
* fields that client does not know: customer_segmentation, ig_account_id, ig_sid,
  page_scoped_user_id, vendor_id.
"""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.models import (
    Conversion,
    Customer,
    LineItem,
    MetaAppData,
    MetaContent,
    MetaCustomData,
    MetaFields,
    MetaOriginalEvent,
    MetaUserData,
)
from anytrack_async.settings import MetaSettings
from anytrack_async.sinks.meta import to_event

pytest.importorskip("facebook_business", reason="Meta's client is not installed")

THEN = datetime(2026, 9, 1, 12, tzinfo=UTC)
SETTINGS = MetaSettings(pixel_id="1", access_token="t", hash_external_id=False)
IDENTIFIERS = {
    "subscription_id": "s1",
    "fb_login_id": "1",
    "lead_id": "2",
    "anon_id": "a",
    "madid": "m",
    "page_id": "p",
    "ctwa_clid": "c",
}


@pytest.fixture(scope="module")
def sdk():
    from facebook_business.adobjects.serverside import (
        action_source,
        app_data,
        content,
        custom_data,
        delivery_category,
        event,
        extended_device_info,
        gender,
        messaging_channel,
        original_event_data,
        user_data,
    )

    return SimpleNamespace(
        ActionSource=action_source.ActionSource,
        AppData=app_data.AppData,
        Content=content.Content,
        CustomData=custom_data.CustomData,
        DeliveryCategory=delivery_category.DeliveryCategory,
        Event=event.Event,
        ExtendedDeviceInfo=extended_device_info.ExtendedDeviceInfo,
        Gender=gender.Gender,
        MessagingChannel=messaging_channel.MessagingChannel,
        OriginalEventData=original_event_data.OriginalEventData,
        UserData=user_data.UserData,
    )


def theirs(sdk, *, user=None, custom=None, **event):
    """Return the event as Meta's client sends it, in this library's order and case."""
    made = sdk.Event(
        event_name="Purchase",
        event_time=int(THEN.timestamp()),
        event_id="e1",
        action_source=sdk.ActionSource.WEBSITE,
        user_data=sdk.UserData(**(user or {})),
        custom_data=sdk.CustomData(**{"value": 19.99, "currency": "USD", **(custom or {})}),
        **event,
    ).normalize()
    made["custom_data"]["currency"] = made["custom_data"]["currency"].upper()
    return _ordered(made)


def ours(*, conversion=None, **customer):
    given = Conversion(
        conversion_type="sale",
        revenue="19.99",
        timestamp=THEN,
        event_id="e1",
        customer=Customer(**customer),
        **(conversion or {}),
    )
    return _ordered(to_event(given, SETTINGS))


def _ordered(event):
    user = event["user_data"].items()
    sets = {name: sorted(v) if isinstance(v, list) else v for name, v in user}
    return {**event, "user_data": sets}


def test_all_customer_data_is_the_same_on_the_wire(sdk):
    assert ours(
        email=[" Jane@Example.com", "j@x.example"],
        phone="+1 (555) 010-9999",
        first_name="Mary",
        last_name="Neil",
        gender="f",
        birth_date="19900203",
        city="New York",
        state="CA",
        postal_code="94035-1234",
        country="US",
        external_id=["u1", "u2"],
        fbc="fb.1.1554763741205.AbC",
        fbp="fb.1.1596403881668.1116446470",
        conversion={
            "ip_address": "203.0.113.9",
            "user_agent": "Mozilla/5.0",
            "meta": MetaFields(user_data=MetaUserData(**IDENTIFIERS)),
        },
    ) == theirs(
        sdk,
        user={
            "emails": [" Jane@Example.com", "j@x.example"],
            "phones": ["+1 (555) 010-9999"],
            "first_name": "Mary",
            "last_name": "Neil",
            "gender": sdk.Gender.FEMALE,
            "date_of_birth": "19900203",
            "city": "New York",
            "state": "CA",
            "zip_code": "94035-1234",
            "country_code": "US",
            "external_ids": ["u1", "u2"],
            "fbc": "fb.1.1554763741205.AbC",
            "fbp": "fb.1.1596403881668.1116446470",
            "client_ip_address": "203.0.113.9",
            "client_user_agent": "Mozilla/5.0",
            **IDENTIFIERS,
        },
    )


def test_all_custom_data_is_the_same_on_the_wire(sdk):
    fields = MetaCustomData(
        net_revenue=5,
        content_name="Ant farm",
        content_category="Toys",
        content_ids=["a", "b"],
        contents=[
            MetaContent(
                id="a",
                quantity=2,
                item_price="5.5",
                title="Ant",
                description="One ant",
                brand="B",
                category="Insects",
                delivery_category="curbside",
            )
        ],
        content_type="product",
        delivery_category="home_delivery",
        predicted_ltv=100,
        num_items=2,
        status="done",
        search_string="ants",
    )
    own = {"coupon": "SPRING"}

    assert ours(
        email="j@x.example",
        conversion={
            "order_id": "o1",
            "custom_data": own,
            "meta": MetaFields(custom_data=fields),
        },
    ) == theirs(
        sdk,
        user={"email": "j@x.example"},
        custom={
            "order_id": "o1",
            "net_revenue": 5,
            "content_name": "Ant farm",
            "content_category": "Toys",
            "content_ids": ["a", "b"],
            "contents": [
                sdk.Content(
                    product_id="a",
                    quantity=2,
                    item_price=5.5,
                    title="Ant",
                    description="One ant",
                    brand="B",
                    category="Insects",
                    delivery_category=sdk.DeliveryCategory.CURBSIDE,
                )
            ],
            "content_type": "product",
            "delivery_category": sdk.DeliveryCategory.HOME_DELIVERY,
            "predicted_ltv": 100,
            "num_items": 2,
            "status": "done",
            "search_string": "ants",
            "custom_properties": own,
        },
    )


def test_items_are_the_same_on_the_wire(sdk):
    item = LineItem(id="a", quantity=2, price="5.50", title="Ant", brand="B", category="Insects")
    content = sdk.Content(
        product_id="a", quantity=2, item_price=5.5, title="Ant", brand="B", category="Insects"
    )

    assert ours(email="j@x.example", conversion={"items": [item]}) == theirs(
        sdk,
        user={"email": "j@x.example"},
        custom={"contents": [content], "content_ids": ["a"], "num_items": 2},
    )


def test_the_rest_of_an_event_is_the_same_on_the_wire(sdk):
    names = ("ext_info_version", "app_package_name", "short_version", "long_version", "os_version")
    more = ("device_model_name", "locale", "timezone_abbreviation", "carrier", "screen_width")
    last = ("screen_height", "screen_density", "cpu_core_count", "total_disk_space_gb")
    device = dict.fromkeys((*names, *more, *last, "free_disk_space_gb", "device_time_zone"), "")
    device |= {"ext_info_version": "i2", "os_version": "17"}
    app = {
        "advertiser_tracking_enabled": True,
        "application_tracking_enabled": False,
        "campaign_ids": "c",
        "install_referrer": "r",
        "url_schemes": ["shop"],
    }
    fields = MetaFields(
        referrer_url="https://search.example",
        opt_out=True,
        messaging_channel="whatsapp",
        data_processing_options=("LDU",),
        data_processing_options_country=1,
        data_processing_options_state=1000,
        app_data=MetaAppData(**app, extinfo=list(device.values())),
        original_event_data=MetaOriginalEvent(event_name="Lead", event_time=THEN, order_id="o0"),
    )
    page = "https://shop.example/thanks"

    assert ours(email="j@x.example", conversion={"page_url": page, "meta": fields}) == theirs(
        sdk,
        user={"email": "j@x.example"},
        event_source_url=page,
        referrer_url="https://search.example",
        opt_out=True,
        messaging_channel=sdk.MessagingChannel.WHATSAPP,
        data_processing_options=["LDU"],
        data_processing_options_country=1,
        data_processing_options_state=1000,
        app_data=sdk.AppData(**app, extinfo=sdk.ExtendedDeviceInfo(**device)),
        original_event_data=sdk.OriginalEventData(
            event_name="Lead", event_time=int(THEN.timestamp()), order_id="o0"
        ),
    )


_word = st.text("abcdefghijklmnopqrstuvwxyzABCDEFXYZ", min_size=1, max_size=12)
_email = st.builds("{}.{}@{}.example".format, _word, _word, _word)
_phone = st.integers(1_000_000, 10**14).map(str)


@given(
    emails=st.lists(_email, max_size=3),
    phones=st.lists(_phone, max_size=2),
    first=_word,
    last=_word,
    city=_word,
    zip_code=st.integers(10_000, 99_999).map(str),
    country=st.sampled_from(["US", "de", "FR", "jp"]),
)
def test_any_plain_customer_is_the_same_on_the_wire(
    sdk, emails, phones, first, last, city, zip_code, country
):
    assert ours(
        email=emails,
        phone=phones,
        first_name=first,
        last_name=last,
        city=city,
        postal_code=zip_code,
        country=country,
    ) == theirs(
        sdk,
        user={
            "emails": emails,
            "phones": phones,
            "first_name": first,
            "last_name": last,
            "city": city,
            "zip_code": zip_code,
            "country_code": country,
        },
    )
