"""What a visitor has agreed to."""

from __future__ import annotations

from typing import Any

import pytest

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.consent import PURPOSES, Consent, ConsentState
from anytrack_async.models.conversion import Conversion

GRANTED, DENIED, UNKNOWN = ConsentState.GRANTED, ConsentState.DENIED, ConsentState.UNKNOWN


@pytest.mark.parametrize(
    ("value", "state"),
    [
        *((value, GRANTED) for value in (GRANTED, "granted", " Granted ", True, "yes", "G")),
        *((value, DENIED) for value in (DENIED, "denied", "DENIED", False, "no", "D")),
        *((value, UNKNOWN) for value in (UNKNOWN, "unknown", None, "", float("nan"))),
    ],
)
def test_banners_have_many_words_for_an_answer(value: Any, state: ConsentState):
    consent = Consent(ad_storage=value, ad_user_data=value, ad_personalization=value)

    assert {consent.ad_storage, consent.ad_user_data, consent.ad_personalization} == {state}


@pytest.mark.parametrize("value", ["maybe", 2, -1, 0.5, [], object()])
def test_another_answer_is_refused(value: Any):
    with pytest.raises(InvalidConversionError, match=r"consent\.ad_user_data must be granted"):
        Consent(ad_user_data=value)


def test_a_mapping_has_the_purposes_as_keys():
    for other in ({}, {"analytics_storage": "granted", "security_storage": "granted"}):
        answers: Any = {"ad_user_data": "denied", **other}
        assert Conversion.sale(revenue=5, consent=answers).consent == Consent(ad_user_data=False)


@pytest.mark.parametrize("wrong", [{"analytics": True}, "denied", 1])
def test_something_else_is_refused(wrong: Any):
    with pytest.raises(InvalidConversionError, match="consent"):
        Conversion.sale(revenue=5, consent=wrong)


def test_all_or_nothing():
    assert Consent.granted().as_dict() == dict.fromkeys(PURPOSES, "granted")
    assert set(Consent.denied().as_dict().values()) == {"denied"}
    assert Consent().as_dict() == {}


def test_plain_data_has_the_known_purposes_only():
    sale = Conversion.sale(revenue=5, order_id="1", consent=Consent(ad_storage=False))

    assert sale.to_dict()["consent"] == {"ad_storage": "denied"}
    assert Conversion.from_json(sale.to_json()) == sale
    assert "consent" not in Conversion.sale(revenue=5).to_dict()
