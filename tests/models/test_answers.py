"""What the services answer: touchpoints, attribution, affiliates, days, outcomes, reports."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.answers import AffiliatePerformance, Attribution, DailyReport, Touchpoint
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
