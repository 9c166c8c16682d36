"""Any customer and any purchase go out as Meta's own client sends them.

`meta_events` lists where the two differ, and why.
"""

from __future__ import annotations

from datetime import date

from facebook_business.adobjects.serverside.content import Content
from facebook_business.adobjects.serverside.delivery_category import DeliveryCategory
from facebook_business.adobjects.serverside.gender import Gender
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.models.conversion import LineItem
from anytrack_async.models.meta import MetaContent, MetaCustomData, MetaFields, MetaUserData
from tests.vendors.meta_events import THEN, ours, theirs

words = st.text("abcdefghijklmnopqrstuvwxyzABCDEFXYZ", min_size=1, max_size=12)
letters = st.text(
    st.characters(categories=["Lu", "Ll", "Lo"], max_codepoint=0x24F), min_size=1, max_size=12
)
money = st.decimals(0, 10**9, places=2)
counts = st.integers(0, 10**6)
ids = st.text("abcDEF0123456789-_.", min_size=1, max_size=20).filter(
    lambda text: not text.endswith((".0", ".00"))  # which a spreadsheet adds to whole numbers
)


def some(values):
    return st.lists(values, max_size=3)


def optional(**fields):
    """Any selection of *fields*, empty lists counting as not given."""
    chosen = st.fixed_dictionaries({}, optional=fields)
    return chosen.map(lambda given: {k: v for k, v in given.items() if v != []})


CUSTOMER = {
    "email": ("emails", some(st.builds("{}.{}@{}.example".format, words, words, words))),
    "phone": ("phones", some(st.integers(1_000_000, 10**14).map("+{}".format))),
    "first_name": ("first_names", some(letters)),
    "last_name": ("last_names", some(letters)),
    "gender": ("genders", some(st.sampled_from(["f", "m"]))),
    "birth_date": ("dates_of_birth", some(st.dates(date(1900, 1, 1), THEN.date()))),
    "city": ("cities", some(letters)),
    "state": ("states", some(st.sampled_from(["CA", "ny", "on", "Bayern"]))),
    "postal_code": ("zip_codes", some(st.sampled_from(["94035-1234", " 10115", "SW1A 1AA"]))),
    "country": ("country_codes", some(st.sampled_from(["US", "de", " FR", "jp"]))),
    "external_id": ("external_ids", some(ids)),
    "fbc": ("fbc", st.just("fb.1.1554763741205.AbC")),
    "fbp": ("fbp", st.just("fb.1.1596403881668.1116446470")),
}
# Others are left out by `Conversion`.
_public_addresses = st.ip_addresses(network="198.51.100.0/24") | st.ip_addresses(
    network="2a00::/12"
)

VISIT = {
    "ip_address": ("client_ip_address", _public_addresses.map(str)),
    "user_agent": ("client_user_agent", words),
}


def as_meta_takes_it(name, value):
    if name == "gender":
        return [Gender.FEMALE if item == "f" else Gender.MALE for item in value]
    if name == "birth_date":
        return [item.strftime("%Y%m%d") for item in value]
    return value


IDENTIFIERS = (
    "subscription_id",
    "fb_login_id",
    "lead_id",
    "anon_id",
    "madid",
    "page_id",
    "ctwa_clid",
)
NAMES = {name: name_there for name, (name_there, _) in {**CUSTOMER, **VISIT}.items()}


@given(
    customer=optional(**{name: values for name, (_, values) in CUSTOMER.items()}),
    visit=optional(**{name: values for name, (_, values) in VISIT.items()}),
    known=optional(**dict.fromkeys(IDENTIFIERS, ids)),
)
def test_any_customer_is_the_same_on_the_wire(customer, visit, known):
    fields = MetaFields(user_data=MetaUserData(**known))
    values = {NAMES[k]: as_meta_takes_it(k, v) for k, v in {**customer, **visit}.items()}

    assert ours(**customer, conversion={**visit, "meta": fields}) == theirs(
        user={**values, **known}
    )


PRODUCT = {
    "quantity": counts,
    "item_price": money,
    "title": words,
    "description": words,
    "brand": words,
    "category": words,
}
CUSTOM = {
    "net_revenue": money,
    "content_name": words,
    "content_category": words,
    "content_ids": st.lists(ids, min_size=1, max_size=3),
    "content_type": st.sampled_from(["product", "product_group"]),
    "predicted_ltv": money,
    "num_items": counts,
    "status": words,
    "search_string": words,
}


def numbers(given):
    """Amounts as Meta's client takes them."""
    return {k: v if isinstance(v, str | int | list) else float(v) for k, v in given.items()}


@given(
    revenue=money,
    currency=st.sampled_from(["USD", "eur", "Jpy"]),
    order_id=st.none() | ids,
    custom=optional(**CUSTOM),
    products=st.lists(optional(**PRODUCT), max_size=2),
    delivery=st.none() | st.sampled_from(DeliveryCategory),
    own=st.dictionaries(words.map("x_{}".format), words | counts | st.booleans(), max_size=2),
)
def test_any_purchase_is_the_same_on_the_wire(
    revenue, currency, order_id, custom, products, delivery, own
):
    category = delivery and delivery.value
    contents = [MetaContent(id="a", delivery_category=category, **product) for product in products]
    fields = MetaCustomData(**custom, delivery_category=category, contents=contents or None)
    built = {"revenue": revenue, "currency": currency, "order_id": order_id, "custom_data": own}

    assert ours(conversion={**built, "meta": MetaFields(custom_data=fields)}) == theirs(
        custom={
            **numbers(custom),
            "value": float(revenue),
            "currency": currency,
            "order_id": order_id,
            "delivery_category": delivery,
            "contents": [
                Content(product_id="a", delivery_category=delivery, **numbers(product))
                for product in products
            ]
            or None,
            "custom_properties": own,
        }
    )


@given(products=st.lists(st.tuples(ids, st.integers(1, 9), money), min_size=1, max_size=3))
def test_the_lines_of_an_order_are_the_same_on_the_wire(products):
    items = [LineItem(id=id_, quantity=n, price=price) for id_, n, price in products]
    contents = [
        Content(product_id=id_, quantity=n, item_price=float(price)) for id_, n, price in products
    ]

    assert ours(conversion={"items": items}) == theirs(
        custom={
            "contents": contents,
            "content_ids": list(dict.fromkeys(id_ for id_, _, _ in products)),
            "num_items": sum(n for _, n, _ in products),
        }
    )
