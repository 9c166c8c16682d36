import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.delivery.retry_rules import (
    BatchFailure,
    failed_entry,
    is_exhausted,
    released_outcome,
    settled_outcome,
)
from anytrack_async.delivery.settlement import delivered_ids
from anytrack_async.destinations.sink import Throttled
from anytrack_async.events import Skipped
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.outbox.base import Entry
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import Retry
from tests.delivery.doubles import FakeSink, World, sale

NOW = 1_000_000.0
SETTINGS = DeliverySettings(retry=Retry(attempts=3, base=1.0, cap=60.0, hint_cap=600.0))
DOWN = BatchFailure(reason="503", code="E1", retry_in=9.0, counts_as_attempt=True)


def entry(attempts=0, age=0.0):
    return Entry(seq=7, conversion=sale("a"), attempts=attempts, accepted_at=NOW - age)


def rule(outcome, failure=DOWN, **fields):
    return failed_entry(entry(**fields), outcome, failure, SETTINGS, NOW)


def test_a_rejected_entry_is_dead_with_the_reason():
    dead = rule(Outcome.rejected("no such pixel", code="100"), attempts=1)

    assert (dead.due, dead.error, dead.code) == (None, "no such pixel", "100")
    assert dead.attempts == 2


def test_a_failure_has_the_status_of_the_response():
    late = attrs.evolve(DOWN, http_status=503)

    assert rule(Outcome.rejected("no", http_status=400)).http_status == 400
    assert rule(Outcome.retry("locked", http_status=423)).http_status == 423
    assert (rule(None, late).http_status, rule(None).http_status) == (503, None)


@pytest.mark.parametrize("status", ["503", 0, 99, 600, 10**30, 503.0])
def test_a_status_that_is_none_of_http_is_dropped(status):
    assert rule(Outcome.rejected("no", http_status=status)).http_status is None


def test_a_rejection_without_a_reason_says_so():
    assert rule(Outcome(status=Status.REJECTED)).error == "no reason given"


def test_a_retry_is_due_within_the_growing_wait():
    assert NOW <= rule(Outcome.retry("locked"), attempts=1).due <= NOW + 2


def test_the_servers_hint_wins_up_to_the_cap():
    assert rule(Outcome.retry("locked", after=100.0)).due == NOW + 100
    assert rule(Outcome.retry("locked", after=5_000.0)).due == NOW + 600


@pytest.mark.parametrize("absurd", [1e6, 1e308, math.inf])
def test_a_hint_of_more_than_a_week_is_a_mistake(absurd):
    assert rule(Outcome.retry("locked", after=absurd)).due == NOW + SETTINGS.hold_probe


def test_the_last_attempt_makes_an_entry_dead_with_the_last_reason():
    dead = rule(Outcome.retry("locked", code="423"), attempts=2, age=7200.0)

    assert dead.due is None
    assert dead.error == "given up after 3 attempts and 2.0 h: locked"
    assert dead.code == "423"


def test_an_expired_entry_is_dead_whatever_its_attempts():
    assert rule(Outcome.retry("locked"), age=SETTINGS.max_age + 1).due is None


def test_an_entry_without_outcome_waits_as_long_as_its_batch():
    retried = rule(None, attempts=1)

    assert (retried.due, retried.error, retried.code, retried.attempts) == (NOW + 9, "503", "E1", 2)


def test_a_failure_that_is_not_an_attempt_keeps_the_count():
    retried = rule(None, BatchFailure(reason="slow down"), attempts=2)

    assert (retried.due, retried.attempts) == (NOW, 2)


def test_an_entry_without_outcome_is_dead_after_its_last_attempt():
    dead = rule(None, attempts=2)

    assert dead.due is None
    assert dead.error == "given up after 3 attempts and 0.0 h: 503"


def test_no_entry_expires_while_the_credentials_are_refused():
    refused_credentials = BatchFailure(reason="401", never_expires=True)

    assert rule(None, refused_credentials, attempts=99, age=1e9).due == NOW


def test_outcomes_for_callers_name_destination_and_attempts():
    retried = rule(Outcome.retry("locked"))
    dead = rule(Outcome.rejected("no", code="1"))

    delivered = settled_outcome(1, Outcome.delivered("r1"), None, "meta")
    assert (delivered.status, delivered.destination, delivered.remote_id, delivered.attempts) == (
        Status.DELIVERED,
        "meta",
        "r1",
        2,
    )
    waiting = settled_outcome(0, Outcome.retry("locked"), retried, "meta")
    assert (waiting.status, waiting.error) == (Status.WAITING, "locked")
    lost = settled_outcome(0, Outcome.rejected("no"), dead, "meta")
    assert (lost.status, lost.error, lost.code) == (Status.DEAD, "no", "1")


def test_an_entry_of_a_released_claim_waits_with_the_reason():
    waiting = released_outcome(1, DOWN, "meta")

    assert (waiting.status, waiting.attempts, waiting.error) == (Status.WAITING, 2, "503")
    assert not waiting.final


answers = st.one_of(
    st.none(),
    st.builds(Outcome.rejected, st.text()),
    st.builds(Outcome.retry, st.text(), after=st.none() | st.floats(-1e9, 1e9)),
)
pauses = st.builds(
    BatchFailure,
    reason=st.text(),
    code=st.none() | st.text(),
    retry_in=st.floats(0, 1e6),
    counts_as_attempt=st.booleans(),
    never_expires=st.booleans(),
)


@given(answers, pauses, st.integers(0, 20), st.floats(0, 2e6))
def test_an_undelivered_entry_is_due_or_dead_with_a_reason(answer, pause, attempts, age):
    tried_entry = entry(attempts, age)
    failed = failed_entry(tried_entry, answer, pause, SETTINGS, NOW)

    if failed.due is None:
        refused = answer is not None and answer.status is Status.REJECTED
        assert refused or is_exhausted(tried_entry, failed.attempts, SETTINGS, NOW)
    else:
        assert failed.due >= NOW
        assert failed.attempts >= attempts
    assert settled_outcome(attempts, answer, failed, "meta").final == (failed.due is None)


def test_only_what_was_delivered_has_an_id_for_the_outbox():
    retry = Outcome(status=Status.RETRY, remote_id="c-2")
    outcomes = [Outcome.delivered("c-1"), retry, None, Outcome.delivered()]
    assert delivered_ids(outcomes, {1, 2}) == ["c-1", None, None, None]
    assert delivered_ids(outcomes[1:], {0, 1}) == ()


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("half \ud800 a pair", "half ? a pair"),
        ("with\0nul", "with\N{REPLACEMENT CHARACTER}nul"),
        (10**5_000, "a value of type int"),
        (b"\xff", r"b'\xff'"),
        ("x" * 3_000_000, "x" * 1_999 + "…"),
    ],
    ids=["surrogate", "nul", "huge", "bytes", "long"],
)
def test_any_reason_of_a_sink_is_text_of_a_limited_length(reason, told):
    code = told[:99] + "…" if len(told) > 100 else told

    dead = rule(Outcome.rejected(reason, code=reason))
    signal = Throttled(reason, after=1, code=reason)

    assert (dead.error, dead.code) == (told, code)
    assert (signal.reason, signal.code, str(signal)) == (told, code, told)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "reason",
    ["half \ud800", "a\0b", 10**5_000, "x" * 3_000_000],
    ids=["surrogate", "nul", "huge", "long"],
)
async def test_a_lane_settles_whatever_reason_a_sink_gives(reason, tmp_path):
    def refuse(_):
        return [Outcome.rejected(reason, code=reason)]

    skipping = FakeSink("beta", lambda _: [Outcome.skipped(reason)])
    outbox = SQLiteOutbox(tmp_path / "outbox.db")
    async with World(FakeSink("alpha", refuse), skipping, outbox=outbox).open() as world:
        (delivery,) = await world.submit(sale("a"))
        report = await delivery
        assert report.outcomes["alpha"].status is Status.DEAD
        await world.until(lambda: world.events_of(Skipped))
