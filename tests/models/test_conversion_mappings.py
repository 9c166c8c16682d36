"""`Conversion`: `custom_data`, `sub_ids` and other mappings."""

from __future__ import annotations

import copy
import json
import math
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from numbers import Integral
from typing import Any
from uuid import UUID

import attrs
import orjson
import pytest

from anytrack_async.models.conversion import Conversion, LineItem
from tests.models.refusals import SECRET, error_of
from tests.models.strategies import FLOATS

# Mappings


class Plan(str, Enum):  # noqa: UP042 - as many code bases have it
    PRO = "pro"


def test_custom_data_becomes_what_json_can_hold():
    stored = Conversion.lead(
        custom_data={
            "price": Decimal("9.90"),
            "count": Decimal("3.00"),
            "at": datetime(2026, 1, 1, tzinfo=UTC),
            "naive": datetime(2026, 1, 1),
            "day": datetime(2026, 1, 1).date(),
            "pair": (1, None),
            "plan": Plan.PRO,
            Plan.PRO: True,
        }
    ).custom_data

    assert stored == {
        "price": 9.9,
        "count": 3,
        "at": "2026-01-01T00:00:00+00:00",
        "naive": "2026-01-01T00:00:00+00:00",
        "day": "2026-01-01",
        "pair": [1, None],
        "plan": "pro",
        "pro": True,
    }
    assert type(stored["plan"]) is str


class Count:
    """A whole number as numpy has it: no `int`, but registered as one."""

    def __int__(self) -> int:
        return 3


Integral.register(Count)
Flag = type("bool_", (), {"__bool__": lambda _: True})  # of numpy 1
NewFlag = type("bool", (), {"__bool__": lambda _: True})  # of numpy 2


@pytest.mark.parametrize("flag", [Flag(), NewFlag()])
def test_numbers_of_other_libraries_and_uuids_are_those_of_python(flag: Any):
    values = {"a": Count(), "b": Fraction(1, 2), "c": flag, "d": UUID(int=7), "e": [Count()]}
    conversion = Conversion.lead(custom_data=values, sub_ids=dict(list(values.items())[:4]))

    assert conversion.custom_data == {"a": 3, "b": 0.5, "c": True, "d": str(UUID(int=7)), "e": [3]}
    assert conversion.sub_ids == {"a": "3", "b": "0.5", "c": "true", "d": str(UUID(int=7))}
    assert type(conversion.custom_data["a"]) is int


def test_enumerations_translations_and_arrays_are_plain_values():
    array = type("ndarray", (), {"tolist": lambda _: [1, [2.5]]})()
    kind, lazy = Enum("Kind", {"A": "a", "B": 2}), pytest.importorskip("django.utils.functional")
    values = {"a": [kind.A, kind.B], "b": lazy.lazystr("Pro"), "c": array}  # type: ignore[attr-defined]

    read = Conversion.lead(custom_data=values | {"d": lazy.SimpleLazyObject(lambda: 5)})

    assert read.custom_data == {"a": ["a", 2], "b": "Pro", "c": [1, [2.5]], "d": 5}
    assert [type(value) for value in read.custom_data.values()] == [list, str, list, int]


@pytest.mark.parametrize("number", FLOATS, ids=lambda number: type(number).__name__)
def test_floats_become_their_shortest_decimal(number: Any):
    sale = Conversion.sale(
        revenue=number,
        items=[LineItem(id="1", price=number)],
        custom_data={"a": number, "b": [number]},
        sub_ids={"a": number},
        meta={
            "custom_data": {"predicted_ltv": number, "contents": {"item_price": number}},
            "extra": {"a": number},
        },
    )

    assert sale.meta is not None
    standard = sale.meta["custom_data"]
    amounts = (sale.revenue, sale.items[0].price, standard["predicted_ltv"])
    assert [*map(str, amounts), str(standard["contents"][0]["item_price"])] == ["0.1"] * 4
    assert sale.custom_data == {"a": 0.1, "b": [0.1]}
    assert (sale.sub_ids, sale.meta["extra"]) == ({"a": "0.1"}, {"a": 0.1})


@pytest.mark.parametrize("field", ["customer", "items", "meta", "sub_ids", "custom_data"])
@pytest.mark.parametrize(
    "gap", [None, float("nan"), "", type("NAType", (), {})()], ids=["None", "NaN", "blank", "NA"]
)
def test_a_gap_in_a_data_frame_is_no_object(field: str, gap: Any):
    assert not getattr(Conversion.lead(**{field: gap}), field)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": {"b": [1, float("inf")]}}, "custom_data.a.b[1] must be a finite number"),
        ({"a": Decimal("Infinity")}, "custom_data.a must be a finite number"),
        ({"a": Decimal("1E+999999")}, "custom_data.a is out of range"),
        ({"a": 2**63}, "custom_data.a does not fit into 64 bits"),
        ({"a": 10**400}, "custom_data.a does not fit into 64 bits"),
        ({"a": Decimal("1E+30")}, "custom_data.a does not fit into 64 bits"),
        ({"a": {1, 2}}, "custom_data.a cannot be sent as JSON: set"),
        ({"a": b"x"}, "custom_data.a cannot be sent as JSON: bytes"),
        ({"a": {1: 2}}, "custom_data.a must have text keys only"),
        ([("a", 1)], "custom_data must be a mapping, got list"),
        ("a", "custom_data must be a mapping, got str"),
    ],
)
def test_values_that_json_cannot_hold_are_refused_with_their_path(value: Any, words: str):
    assert str(error_of(custom_data=value)).startswith(words)


def test_custom_data_loses_halves_of_surrogate_pairs():
    posted = {"note": "hi\ud83d", "list": ["\udc00x"], "\ud800key": {"a\udfff": 1}}

    assert Conversion.lead(custom_data=posted).custom_data == {
        "note": "hi",
        "list": ["x"],
        "key": {"a": 1},
    }


def test_nan_in_custom_data_becomes_none():
    gaps = {"a": math.nan, "b": [Decimal("NaN")], "c": {"d": Decimal("sNaN")}}

    assert Conversion.lead(custom_data=gaps).custom_data == {
        "a": None,
        "b": [None],
        "c": {"d": None},
    }


def test_a_key_that_may_be_a_customers_is_masked():
    assert str(error_of(custom_data={SECRET: {"a": {1}}})) == (
        "custom_data.….a cannot be sent as JSON: set"
    )


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_custom_data_may_nest_64_levels_deep():
    assert Conversion.lead(custom_data=nested(64)).custom_data == nested(64)


@pytest.mark.parametrize("levels", [65, 900, 100_000])
def test_deeper_data_is_refused_and_does_not_exhaust_the_stack(levels: int):
    assert "is nested deeper than 64 levels" in str(error_of(custom_data=nested(levels)))


def test_data_that_contains_itself_is_refused():
    loop: list[Any] = []
    loop.append(loop)
    assert "is nested deeper" in str(error_of(custom_data={"a": loop}))


def test_sub_ids_are_text():
    sub_ids = {"s1": "a", "s2": 5, "s3": None, "s4": True, "s5": Decimal("1.50"), "s6": 2**70}

    stored = Conversion.lead(sub_ids=sub_ids).sub_ids

    assert stored == {"s1": "a", "s2": "5", "s4": "true", "s5": "1.50", "s6": str(2**70)}


@pytest.mark.parametrize("value", [["a"], {}, float("inf"), object(), {"a": 1}])
def test_a_sub_id_that_is_not_text_is_left_out_and_noted(value: Any):
    lead = Conversion.lead(sub_ids={"s1": value, "s2": "a", "s3": b"b", "s4": "c\x00d\n"})

    assert lead.sub_ids == {"s2": "a", "s3": "b", "s4": "cd"}
    assert lead.weakened == ("unusable sub ids",)


@pytest.mark.parametrize("sub_ids", [{1: "a"}, "s", ["s"], [("s", "a")]])
def test_sub_ids_that_are_no_mapping_of_names_are_refused(sub_ids: Any):
    assert error_of(sub_ids=sub_ids).name == "sub_ids"


def test_none_counts_as_an_empty_mapping():
    lead = Conversion.lead(sub_ids=None, custom_data=None)  # type: ignore[arg-type]
    assert (lead.sub_ids, lead.custom_data) == ({}, {})


@pytest.mark.parametrize(
    "change",
    [
        lambda mapping: mapping.__setitem__("s1", "a"),
        lambda mapping: mapping.update({"s1": "a"}),
        lambda mapping: mapping.update(s1="a"),
        lambda mapping: mapping.setdefault("s1", "a"),
        lambda mapping: mapping.__ior__({"s1": "a"}),
    ],
)
@pytest.mark.parametrize("field", ["sub_ids", "clicks"])
def test_mappings_without_values_are_shared_and_stay_empty(field: str, change: Any):
    mapping = getattr(Conversion.lead(event_id="a"), field)
    with pytest.raises(TypeError, match=r"'s1' was not set: .*attrs\.evolve"):
        change(mapping)

    other = Conversion.lead(event_id="b", sub_ids={"s1": " "}, clicks={})
    assert mapping == {} == getattr(other, field)
    assert mapping is getattr(attrs.evolve(other, event_id="c"), field)


def test_conversions_without_values_are_copied_pickled_and_written_like_others():
    lead = Conversion.lead(event_id="a")
    for copied in (copy.deepcopy(lead), pickle.loads(pickle.dumps(lead))):
        assert copied == lead
        assert copied.sub_ids is copied.clicks is lead.sub_ids
    assert json.dumps([lead.sub_ids]) == orjson.dumps([lead.clicks]).decode() == "[{}]"
    assert type(lead.sub_ids | {"s1": "a"}) is dict  # type: ignore[operator]
