"""Blank text and missing values in every optional field; invisible marks around ids and amounts."""

from __future__ import annotations

import math
import sys
import unicodedata
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any

import attrs
import pytest

from anytrack_async import Conversion, Customer, InvalidConversionError, LineItem
from anytrack_async.models.missing import BLANKS, is_blank

BLANK_TEXTS = {
    "spaces": " \t\r\n",
    "no-break space": "\xa0\u202f",
    "ideographic space": "\u3000",
    "zero-width space": "\u200b",
    "byte order mark": "\ufeff",
    "word joiner": "\u2060 ",
    "soft hyphen": "\xad",
    "NUL": "\x00\x00",
    "directions": "\u202d\u202c\u200e\u061c",
    "Hangul filler": "\u3164",
    "Braille blank": " \u2800",
    "tags": "\U000e0020",
}

LISTS = ("email", "phone", "first_name", "gender", "birth_date", "city", "postal_code", "country")
OPTIONAL = {
    Conversion: [field.alias for field in attrs.fields(Conversion) if field.init][1:],
    Customer: [field.name for field in attrs.fields(Customer)],
    LineItem: ["quantity", "price", "title", "category", "brand"],
}
REQUIRED: dict[type, dict[str, Any]] = {
    Conversion: {"conversion_type": "lead", "event_id": "1", "timestamp": None},
    Customer: {},
    LineItem: {"id": "1"},
}


def made(model: Any, **fields: Any) -> Any:
    return model(**REQUIRED[model] | fields)


@pytest.mark.parametrize("blank", BLANK_TEXTS.values(), ids=list(BLANK_TEXTS))
def test_text_that_cannot_be_seen_is_not_given_in_any_optional_field(blank: str):
    for model, names in OPTIONAL.items():
        for name in names:
            assert not model_differs(model, name, blank), (model.__name__, name)


def model_differs(model: Any, name: str, blank: str) -> bool:
    """Whether *blank* in the field is something else than None, which is not given."""
    if name in ("event_id", "timestamp"):  # made anew for each
        made(model, **{name: blank})
        return False
    without = (
        made(model) if (model, name) == (LineItem, "quantity") else made(model, **{name: None})
    )
    given = made(model, **{name: blank})
    return bool(given.weakened if model is not LineItem else False) or any(
        getattr(given, field.name) != getattr(without, field.name)
        for field in attrs.fields(model)
        if field.name not in ("timestamp", "_event_id")
    )


@pytest.mark.parametrize("blank", BLANK_TEXTS.values(), ids=list(BLANK_TEXTS))
def test_blank_text_in_meta_and_custom_fields_is_not_given(blank: str):
    lead = Conversion.lead(
        sub_ids={"a": blank},
        clicks={"gclid": blank},
        consent={"ad_user_data": blank},
        meta={"opt_out": blank, "custom_data": {"content_name": blank, "num_items": blank}},  # type: ignore[typeddict-item]
    )

    assert (lead.sub_ids, lead.clicks, lead.weakened) == ({}, {}, ())
    assert lead.consent is not None
    assert lead.consent.as_dict() == {}
    assert lead.meta == {"custom_data": {}}


def test_every_space_and_most_format_characters_are_blank():
    characters = [*map(chr, range(sys.maxunicode + 1))]

    assert [char for char in characters if char.isspace() and char not in BLANKS] == []
    # The rest belongs to numbers, music and hieroglyphs.
    formats = {c for c in characters if unicodedata.category(c) == "Cf"}
    assert len(formats - BLANKS) < len(formats) / 3
    assert not is_blank(" a ")
    assert is_blank("")


@pytest.mark.parametrize("mark", ["\ufeff", "\u200b", "\u202d", "\xa0", "\x00", "\xad", "\u2060"])
@pytest.mark.parametrize("name", ["order_id", "id", "click_id", "source", "campaign_id", "ad_id"])
def test_invisible_marks_around_an_id_are_no_part_of_it(name: str, mark: str):
    lead = Conversion.lead(**{name: f"{mark}A-1003{mark}"})  # type: ignore[arg-type]

    assert getattr(lead, name) == "A-1003"
    assert lead.weakened == ()


@pytest.mark.parametrize("mark", ["\ufeff", "\u200b", "\u202d", "\xa0", "\x00", "\u2060"])
def test_invisible_marks_around_other_values_are_dropped(mark: str):
    def marked(text: str) -> str:
        return f"{mark}{text}{mark}"

    item = LineItem(id=marked("7"), price=marked("4.50"), quantity=marked("2"))
    sale = Conversion.sale(
        revenue=marked("49.90"),
        currency=marked("eur"),
        ip_address=marked("8.8.8.8"),
        page_url=marked("https://shop.example/"),
        customer=Customer(fbp=marked("fb.1.2.3")),
    )

    assert (item.id, item.price, item.quantity) == ("7", Decimal("4.50"), 2)
    assert (sale.revenue, sale.currency) == (Decimal("49.90"), "EUR")
    assert (sale.ip_address, sale.page_url) == ("8.8.8.8", "https://shop.example/")
    assert sale.customer is not None
    assert sale.customer.fbp == "fb.1.2.3"


@pytest.mark.parametrize(
    "text", ["nan", "NaN", "<NA>", "NaT", "None", "null", "undefined", "#N/A", "#REF!"]
)
def test_orders_without_an_id_are_not_one_order_called_nan(text: str):
    first, second = (Conversion.sale(revenue=1, order_id=text) for _ in range(2))

    assert first.order_id is None
    assert first.event_id != second.event_id
    assert first.weakened == ("unusable order ids",)
    own = Conversion.sale(revenue=1, event_id=text, order_id="7")
    assert (own.event_id, own.weakened) == ("sale:7", ("unusable event ids",))


class Proxy:
    """As of Werkzeug: `isinstance` takes it for what it stands for."""

    def __init__(self, value: Any) -> None:
        self._get_current_object = lambda: value

    __class__ = property(lambda self: type(self._get_current_object()))  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __str__(self) -> str:
        return str(self._get_current_object())


@pytest.mark.parametrize("lazy", ["SimpleLazyObject", Proxy])
def test_a_lazy_object_is_the_value_that_it_stands_for(lazy: Any):
    django = pytest.importorskip("django.utils.functional")

    def late(value: Any) -> Any:
        return Proxy(value) if lazy is Proxy else django.SimpleLazyObject(lambda: value)

    sale = Conversion.sale(
        revenue=late(Decimal("49.90")),
        order_id=late(1003),
        campaign_id=late(7),
        customer=late(Customer(phone=late(491701234567), birth_date=late(date(1990, 2, 3)))),
        items=[LineItem(id=late(9), quantity=late(2), price=late(4.5))],
    )

    assert (sale.revenue, sale.event_id, sale.campaign_id) == (Decimal("49.90"), "sale:1003", "7")
    assert type(sale.customer) is Customer
    assert sale.customer == Customer(phone="491701234567", birth_date="1990-02-03")
    assert sale.items == (LineItem(id="9", quantity=2, price="4.5"),)


@pytest.mark.parametrize("text", ["1.2021E+17", "1.2021e+17", " 4,91E+11"])
def test_orders_whose_number_a_table_has_rounded_are_not_one_order(text: str):
    first, second = (Conversion.sale(revenue=1, order_id=text) for _ in range(2))

    assert first.event_id != second.event_id
    assert first.weakened == ("unusable order ids",)
    assert Conversion.sale(revenue=1, order_id="A+1").order_id == "A+1"


@pytest.mark.parametrize(
    "text", ["nan", "NULL", "undefined", "None", "1.2021E+17", "4,91E+11", "1.2021e+17", "#VALUE!"]
)
def test_visitors_without_an_id_are_not_one_visitor(text: str):
    """A column that became text, a script, and a spreadsheet write the same for many rows."""
    links = {"click_id": text, "campaign_id": f" {text}", "ad_id": text, "clicks": {"gclid": text}}
    lead = Conversion.lead(**links, customer=Customer(external_id=[f"{text} ", "u7"], fbp=text))  # type: ignore[arg-type]

    assert (lead.click_id, lead.campaign_id, lead.ad_id, lead.clicks) == (None, None, None, {})
    assert lead.customer is not None
    assert (lead.customer.external_id, lead.customer.fbp) == (("u7",), None)
    assert {"unusable click ids", "unusable ids in links", "unusable external ids"} <= {
        *lead.weakened
    }
    assert Conversion.lead(campaign_id="E+", click_id="AE+1").campaign_id == "E+"


@pytest.mark.parametrize(
    "gap", ["nan", "NaN", "<NA>", "None", "-nan", math.nan, Decimal("sNaN"), None]
)
def test_the_text_of_a_missing_number_is_not_given(gap: Any):
    item = LineItem(id=1, price=gap, quantity=gap)

    assert (item.price, item.quantity) == (None, 1)
    custom = {"predicted_ltv": gap, "num_items": gap, "net_revenue": gap}
    assert Conversion.lead(meta={"custom_data": custom}).meta == {"custom_data": {}}  # type: ignore[typeddict-item]


class Source(Enum):
    META = "meta"
    SEVEN = 7


def test_members_of_enumerations_stand_for_their_values():
    sale = Conversion.sale(
        revenue=1,
        order_id=Source.SEVEN,  # type: ignore[arg-type]
        source=Source.META,  # type: ignore[arg-type]
        click_id=Source.SEVEN,  # type: ignore[arg-type]
        meta={"action_source": Enum("Place", {"A": "chat"}).A},  # type: ignore[attr-defined]
    )

    assert (sale.order_id, sale.source, sale.click_id) == ("7", "meta", "7")
    assert sale.meta == {"action_source": "chat"}


@pytest.mark.parametrize("text", ["1003.0", "1003.00", " 1003.0 ", "\ufeff1003.00"])
def test_ids_of_a_spreadsheet_lose_their_decimal_zeros(text: str):
    sale = Conversion.sale(revenue=1, order_id=text, click_id=text)

    assert (sale.order_id, sale.click_id, LineItem(id=text).id) == ("1003", "1003", "1003")
    assert Customer(external_id=text.strip("\ufeff ")).external_id == ("1003",)
    assert Conversion.sale(revenue=1, order_id="1.2.00").order_id == "1.2.00"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (10**50, "has too many digits"),
        (10**5000, "has too many digits"),
        (b"1003", "must be text, got bytes: decode them first"),
        (True, "must be text, got bool"),
        (1003.5, "must be text or a whole number"),
        ("a\u200bb", "must be printable: no line breaks, tabs, control or invisible characters"),
    ],
    ids=["digits", "huge", "bytes", "bool", "fraction", "invisible"],
)
def test_the_error_of_an_id_says_what_to_do(value: Any, problem: str):
    with pytest.raises(InvalidConversionError) as caught:
        Conversion.sale(revenue=1, order_id=value)
    assert str(caught.value).startswith(f"order_id {problem}")


def test_a_missing_product_id_is_told_as_such():
    for gap in (math.nan, None, "", "\u200b"):
        with pytest.raises(InvalidConversionError, match=r"^id must not be empty$"):
            LineItem(id=gap)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["49_90", "1_299.90", "€49.90", "49.90 USD", "1'299.90", "1’299.90", "1\u202f299.90"]
)
def test_amounts_with_other_characters_are_refused_with_what_to_remove(text: str):
    with pytest.raises(InvalidConversionError) as caught:
        Conversion.sale(revenue=text)

    assert str(caught.value).startswith("revenue must be a number such as '1299.90'")
    assert "remove currency signs, spaces, apostrophes and underscores" in str(caught.value)


@pytest.mark.parametrize("gap", [None, "", "\u200b"])
def test_a_sale_without_an_amount_is_told_as_such(gap: Any):
    with pytest.raises(
        InvalidConversionError, match=r"^revenue must be a number: a sale needs an amount$"
    ):
        Conversion.sale(revenue=gap)
