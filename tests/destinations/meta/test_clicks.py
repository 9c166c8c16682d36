"""Click ids of a conversion in Meta's events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from anytrack_async.destinations.meta.user_data import user_data
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer


def test_a_click_id_among_the_clicks_gives_an_fbc_unless_a_better_one_is_given():
    clicks, at = {"fbclid": "CLK"}, datetime(2019, 4, 8, 22, 49, 1, 205000, tzinfo=UTC)

    def fbc_of(**fields: Any) -> Any:
        return user_data(Conversion.lead(clicks=clicks, timestamp=at, **fields)).get("fbc")

    assert fbc_of() == "fb.1.1554763741205.CLK"
    assert fbc_of(customer=Customer(fbc="fb.1.1.OWN")) == "fb.1.1.OWN"
    assert fbc_of(customer=Customer(fbclid="own")) == "fb.1.1554763741205.own"
    new = "https://x.example/?fbclid=NEW"
    assert fbc_of(page_url=new, customer=Customer(fbc="fb.1.1.OLD")) == "fb.1.1554763741205.NEW"
    for marked in ("CLK.AQICAQMC", "CLK.AQ"):  # of Meta's parameter builder
        assert fbc_of(customer=Customer(fbclid=marked)) == "fb.1.1554763741205.CLK"
    for nothing in ("undefined", "nan", "%00", "%E2%80%8B"):
        page = f"https://x.example/?fbclid={nothing}"
        assert fbc_of(page_url=page, customer=Customer(fbc="fb.1.1.OWN")) == "fb.1.1.OWN"
