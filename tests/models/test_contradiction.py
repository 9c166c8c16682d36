"""Summaries, and when two of them contradict each other."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.models.contradiction import ConversionSummary, find_contradiction, summary
from anytrack_async.models.conversion import Conversion, ConversionType
from tests.models.strategies import conversions


def test_a_summary_is_type_revenue_and_currency():
    assert summary(Conversion.sale(revenue="49.90", currency="eur")) == "sale 49.90 EUR"


@given(conversions)
def test_a_summary_is_read_as_it_was_written(conversion: Conversion):
    parsed = ConversionSummary.parse(summary(conversion))

    assert (parsed.conversion_type, parsed.currency) == (
        conversion.conversion_type,
        conversion.currency,
    )
    assert str(parsed.revenue) == str(conversion.revenue)
    assert str(parsed) == summary(conversion)


few = st.builds(
    Conversion,
    event_id=st.just("e"),
    conversion_type=st.sampled_from(["sale", "lead"]),
    revenue=st.sampled_from(["0", "0.00", "1", "1.0", "2"]),
    currency=st.sampled_from(["USD", "EUR"]),
)


@given(few, few)
def test_two_conversions_contradict_each_other_by_three_fields_only(
    first: Conversion, other: Conversion
):
    contradiction = find_contradiction("e", summary(first), summary(other))

    same = first.conversion_type == other.conversion_type and first.revenue == other.revenue
    same = same and (first.revenue == 0 or first.currency == other.currency)
    assert (contradiction is None) == same


@pytest.mark.parametrize("text", ["", "sale", "sale 1", "refund 1 USD", "sale x USD", "sale 1 U S"])
def test_another_text_is_no_summary(text: str):
    with pytest.raises(ValueError, match="not the summary of a conversion"):
        ConversionSummary.parse(text)
    assert find_contradiction("e", text, "sale 1 USD") is None


def test_without_the_first_summary_nothing_contradicts():
    assert find_contradiction("e", None, "sale 1 USD") is None


def test_a_contradiction_names_both():
    contradiction = find_contradiction("e", "sale 49.90 USD", "lead 5 EUR")

    assert contradiction is not None
    assert contradiction.first == ConversionSummary(
        conversion_type=ConversionType.SALE, revenue=Decimal("49.90"), currency="USD"
    )
    assert str(contradiction.repeat) == "lead 5 EUR"
    assert str(contradiction) == (
        "conversion 'e' was accepted as sale 49.90 USD and came again as lead 5 EUR"
    )


class Named(Decimal):
    def __str__(self) -> str:
        return "49 euros"


def test_an_amount_of_a_subclass_is_a_plain_decimal():
    conversion = Conversion.sale(revenue=Named("49.90"))

    assert type(conversion.revenue) is Decimal
    assert summary(conversion) == "sale 49.90 USD"
