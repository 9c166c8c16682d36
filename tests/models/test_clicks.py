"""Click ids of advertising services on a conversion."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.clicks import MAX_CLICKS, to_clicks
from anytrack_async.models.conversion import Conversion


def test_known_names_get_their_letter_case():
    assert to_clicks({"GCLID": "a", "sccid": "b", "oppref": "c"}) == {
        "gclid": "a",
        "ScCid": "b",
        "oppref": "c",
    }


@pytest.mark.parametrize(
    "value", ["", None, "x" * 1025, "a\x00b", "\ud800", float("nan"), object()]
)
def test_an_unusable_id_is_left_out(value: Any):
    assert to_clicks({"gclid": value, "fbclid": "ok"}) == {"fbclid": "ok"}


def test_a_member_of_an_enum_is_plain_text_as_a_name():
    name = StrEnum("Name", {"GCLID": "gclid", "OTHER": "oppref"})

    clicks = to_clicks({name.GCLID: "a", name.OTHER: "b"})

    assert {type(key) for key in clicks} == {str}  # JSON takes nothing else


def test_what_is_left_out_is_named():
    lead = Conversion.lead(clicks={"gclid": "x" * 2000, "not a name": "1"})

    assert lead.clicks == {}
    assert lead.weakened == ("unusable click ids",)


def test_only_the_first_32_count():
    assert len(to_clicks({f"c{number}": "x" for number in range(100)})) == MAX_CLICKS


@pytest.mark.parametrize("wrong", ["gclid=1", 5, [("gclid", "1")], {1: "a"}])
def test_something_else_than_a_mapping_of_texts_is_refused(wrong: Any):
    with pytest.raises(InvalidConversionError, match="clicks"):
        Conversion.lead(clicks=wrong)


@given(st.dictionaries(st.text(), st.text() | st.binary() | st.integers() | st.none()))
def test_no_id_raises(clicks: Any):
    lead = Conversion.lead(clicks=clicks)

    assert Conversion.lead(clicks=lead.clicks).clicks == lead.clicks
    assert "".join([*lead.clicks, *lead.clicks.values()]).encode() is not None
