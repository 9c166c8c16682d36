"""What the services answer: touchpoints, attribution, affiliates, days, outcomes, reports."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.answers import (
    AffiliatePerformance,
    Attribution,
    DailyReport,
    RecordedConversion,
    Touchpoint,
)
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.outcome import DELIVERED, Outcome, Receipt, Report, Status


def test_a_touchpoint_has_its_time_in_utc():
    local = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))

    assert Touchpoint(type="click", timestamp=local).timestamp.isoformat() == (
        "2026-01-01T00:00:00+00:00"
    )
    with pytest.raises(InvalidConversionError, match="timestamp needs a time zone"):
        Touchpoint(type="click", timestamp=datetime(2026, 1, 1))


@pytest.mark.parametrize(
    "answer",
    [
        Touchpoint(type="view", timestamp=datetime(2026, 1, 1, tzinfo=UTC)),
        Attribution(model="linear", weights={"touchpoint_1": 0.5}),
        AffiliatePerformance(affiliate_id="a1", revenue=Decimal(5)),
        DailyReport(date=date(2026, 1, 1), by_source={"google": Decimal(5)}),
        RecordedConversion(conversion_type=ConversionType.SALE, custom_data={"a": 1}),
        Report(event_id="e", outcomes={"meta": DELIVERED}),
        Receipt(event_id="e"),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_every_answer_is_hashable(answer: object):
    assert len({answer, answer}) == 1


def outcome(status: Status) -> Outcome:
    return Outcome(status=status, destination="meta")


@pytest.mark.parametrize("status", Status)
def test_only_waiting_and_retry_are_not_final(status: Status):
    final = status not in (Status.WAITING, Status.RETRY)

    assert outcome(status).final is final
    assert Report(event_id="e", outcomes={"meta": outcome(status)}).final is final


def test_a_report_is_final_once_every_destination_is():
    dead, waiting = outcome(Status.DEAD), outcome(Status.WAITING)

    assert not Report(event_id="e", outcomes={"a": dead, "b": waiting}).final
    assert Report(event_id="e", outcomes={"a": dead, "b": dead}).final


def test_a_report_is_delivered_only_if_every_destination_accepted():
    has, lost = outcome(Status.DELIVERED), outcome(Status.DEAD)

    assert Report(event_id="e", outcomes={"a": has, "b": has}).delivered
    assert not Report(event_id="e", outcomes={"a": has, "b": lost}).delivered


def test_a_sink_returns_one_of_three_outcomes():
    assert Outcome.delivered("d1").remote_id == "d1"
    retry = Outcome.retry("busy", code="503", after=2.0)
    assert (retry.status, retry.error, retry.code, retry.retry_after) == (
        Status.RETRY,
        "busy",
        "503",
        2.0,
    )
    rejected = Outcome.rejected("no", code="400")
    assert (rejected.status, rejected.error, rejected.code) == (Status.REJECTED, "no", "400")


AT = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS: dict[str, Any] = {
    "conversion_type": ConversionType.SALE,
    "revenue": Decimal("49.90"),
    "timestamp": AT,
    "event_id": "sale:1001",
    "click_id": "k1",
}


def recorded(**changes: Any) -> RecordedConversion:
    return RecordedConversion(**(FIELDS | changes))


def test_a_recorded_conversion_has_any_values():
    odd = {"revenue": Decimal(-5), "currency": "USDT", "ip_address": "10.0.0.7", "id": "i" * 300}
    conversion = recorded(**odd, event_name="x" * 60, click_id="k" * 2000)

    assert isinstance(conversion, Conversion)
    assert {name: getattr(conversion, name) for name in odd} == odd
    assert (conversion.event_name, conversion.click_id) == ("x" * 60, "k" * 2000)


def test_a_recorded_conversion_becomes_one_that_can_be_sent():
    conversion = recorded(ip_address="10.0.0.7", order_id="1001.0").to_conversion()

    assert type(conversion) is Conversion
    assert conversion == Conversion(**FIELDS, order_id="1001")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"revenue": Decimal(-5)}, r"^revenue must not be negative$"),
        ({"event_name": "x" * 60}, r"^event_name must not be longer than 50 characters$"),
        ({"custom_data": {"a": {"b": 2**70}}}, r"^custom_data\.a\.b does not fit"),
        (
            {"revenue": Decimal(-5), "currency": "SECRET", "id": "i" * 300},
            r"^revenue must not be negative; currency must be .*'EUR'; id must not be longer",
        ),
    ],
)
def test_the_error_names_every_field_that_cannot_be_sent(changes: dict[str, Any], message: str):
    with pytest.raises(InvalidConversionError, match=message) as caught:
        recorded(**changes).to_conversion()

    assert "SECRET" not in str(caught.value)


def test_a_recorded_conversion_equals_one_with_the_same_fields():
    conversion = Conversion(**FIELDS)

    assert recorded() == conversion
    assert conversion == recorded() == recorded()
    assert hash(recorded()) == hash(conversion)
    assert pickle.loads(pickle.dumps(recorded())) == recorded()
    assert recorded(source="google") != conversion
    assert recorded() != "sale:1001"


def test_the_repr_of_a_recorded_conversion_has_nothing_of_the_visitor():
    secrets = {
        **dict.fromkeys(("click_id", "ip_address", "user_agent", "page_url"), "jane@example.com"),
        **{name: {"a": "jane@example.com"} for name in ("sub_ids", "custom_data")},
    }

    assert "jane" not in repr(recorded(**secrets))
