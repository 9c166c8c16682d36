"""The audit finds every way in which our counts and the services' can differ, and no other."""

from __future__ import annotations

import copy

import attrs
import pytest

from anytrack_async import Conversion, DeadLetter, DestinationStats, Outcome, Report, Stats, Status
from anytrack_async.demo.audit import FinalState, Tally, audit
from anytrack_async.demo.sample import InvalidLine
from anytrack_async.events import (
    DeadLettered,
    Delivered,
    Dropped,
    LaneDown,
    LaneHeld,
    LaneResumed,
    LaneThrottled,
    Retried,
    Submitted,
)
from anytrack_async.models.contradiction import find_contradiction, summary

SERVICES = ("anytrack", "meta")
FIRST = Conversion.sale(order_id="注文 1%", revenue=10)
SECOND = Conversion.sale(order_id="2", revenue=20)
OTHER = Conversion.sale(order_id="2", revenue=21)
INVALID = InvalidLine(line=4, reason="revenue must not be negative", order_id="4")
LINES = [(1, FIRST), (2, SECOND), (3, FIRST), INVALID, (5, OTHER)]


def report(conversion: Conversion, status: Status = Status.DELIVERED) -> Report:
    outcomes = {name: Outcome(status=status, destination=name) for name in SERVICES}
    return Report(event_id=conversion.event_id, outcomes=outcomes)


def delivered(name: str, *ids: str) -> Delivered:
    return Delivered(destination=name, event_ids=ids, seconds=0.1)


@pytest.fixture
def tally() -> Tally:
    """Two conversions, of which Meta rejects the second; a repeat and a contradiction."""
    tally = Tally(5, SERVICES)
    list(tally.read(LINES))
    tally.notify(Submitted(event_ids=[FIRST.event_id, SECOND.event_id]))
    tally.notify(delivered("anytrack", FIRST.event_id, SECOND.event_id))
    tally.notify(delivered("meta", FIRST.event_id))
    tally.notify(DeadLettered(destination="meta", event_id=SECOND.event_id, reason="too old"))
    for conversion in (FIRST, SECOND, FIRST):
        tally.report(report(conversion))
    contradicts = find_contradiction(OTHER.event_id, summary(SECOND), summary(OTHER))
    tally.report(attrs.evolve(report(OTHER), contradicts=contradicts))
    return tally


LETTER = DeadLetter(
    seq=2,
    destination="meta",
    conversion=SECOND,
    attempts=1,
    error="too old",
    code=None,
    died_at=0.0,
)


@pytest.fixture
def state() -> FinalState:
    counts = {
        "anytrack": DestinationStats(delivered=2),
        "meta": DestinationStats(delivered=1, dead=1),
    }
    return FinalState(stats=Stats(submitted=2, destinations=counts), dead_letters=(LETTER,))


@pytest.fixture
def ledger() -> dict:
    def page(*ids: str) -> dict:
        return {
            "requests": 3,
            "unique": len(ids),
            "duplicates": 1,
            "faults": {"cut": 2, "lost": 1},
            "ids": dict.fromkeys(ids, 1),
        }

    quoted = "sale:%E6%B3%A8%E6%96%87 1%25"
    return {"anytrack": page(quoted, SECOND.event_id), "meta": page(FIRST.event_id)}


def test_equal_counts_have_no_problems(tally, state, ledger):
    result = audit(tally, state, ledger)

    assert result.problems == ()
    assert [(s.name, s.delivered, s.unique, s.dead) for s in result.services] == [
        ("anytrack", 2, 2, 0),
        ("meta", 1, 1, 1),
    ]
    assert [(s.requests, s.duplicates, s.faults) for s in result.services] == [(3, 1, 3)] * 2


def test_a_service_without_event_ids_may_count_an_order_without_id_again(tally, state, ledger):
    ledger["anytrack"]["unique"] = 4  # of two event ids

    result = audit(tally, state, ledger, by_order_id=["anytrack"])

    assert result.problems == ()
    assert (result.services[0].unique, result.services[0].counted_again) == (2, 2)
    assert "its ledger counts 4 conversions" in audit(tally, state, ledger).problems[0]


def test_every_rejected_line_has_the_part_that_rejected_it(tally, state, ledger):
    rejections = audit(tally, state, ledger).rejections

    assert [(r.lines, r.event_id, r.rejected_by, r.reason) for r in rejections] == [
        ((4,), "4", "reading", "revenue must not be negative"),
        (
            (5,),
            "sale:2",
            "outbox",
            "contradicts an earlier line with its event id; the earlier line was sent",
        ),
        ((2,), "sale:2", "meta", "too old"),
    ]


def test_repeats_and_contradictions_are_distinguished(tally):
    assert tally.repeats == 1
    assert tally.contradictions == {5: "sale:2"}


def test_a_conversion_missing_from_the_ledger_is_named(tally, state, ledger):
    del ledger["meta"]["ids"][FIRST.event_id]
    ledger["meta"]["unique"] = 0

    assert audit(tally, state, ledger).problems == (
        "meta: its ledger counts 0 conversions, we delivered 1",
        f"meta: counted as delivered, but not in its ledger: {FIRST.event_id}",
    )


def test_a_conversion_only_the_ledger_has_is_named(tally, state, ledger):
    ledger["meta"]["ids"]["ghost"] = 1
    ledger["meta"]["unique"] = 2

    assert audit(tally, state, ledger).problems == (
        "meta: its ledger counts 2 conversions, we delivered 1",
        "meta: in its ledger, but not counted as delivered: ghost",
    )


def test_equal_counts_of_different_conversions_do_not_agree(tally, state, ledger):
    ledger["meta"]["ids"] = {"another": 1}

    assert len(audit(tally, state, ledger).problems) == 2


def test_a_conversion_without_an_outcome_is_named(tally, state, ledger):
    state = attrs.evolve(state, dead_letters=())

    problems = audit(tally, state, ledger).problems

    assert "meta: neither delivered nor in the dead letters: sale:2" in problems


def test_a_dead_letter_without_a_reason_does_not_count(tally, state, ledger):
    state = attrs.evolve(state, dead_letters=(attrs.evolve(LETTER, error=""),))

    assert any("sale:2" in problem for problem in audit(tally, state, ledger).problems)


def test_a_conversion_that_is_delivered_and_dead_is_named(tally, state, ledger):
    tally.notify(delivered("meta", SECOND.event_id))

    problems = audit(tally, state, ledger).problems

    assert "meta: delivered and in the dead letters: sale:2" in problems


def test_counters_that_differ_from_the_events_are_a_problem(tally, state, ledger):
    counts = {**state.stats.destinations, "anytrack": DestinationStats(delivered=7)}
    state = attrs.evolve(state, stats=Stats(submitted=2, destinations=counts))

    (problem,) = audit(tally, state, ledger).problems

    assert problem == ("anytrack: the client counts 7 delivered and 0 dead, its observer 2 and 0")


def test_a_line_without_a_report_is_a_problem(tally, state, ledger):
    tally.reports -= 1

    (problem,) = audit(tally, state, ledger).problems

    assert problem == "of 5 lines, 5 were read and 4 are accounted for"


def test_unread_lines_are_a_problem(tally, state, ledger):
    tally.size = 6

    assert "of 6 lines, 5 were read" in audit(tally, state, ledger).problems[0]


def test_an_unreported_contradiction_is_a_problem(tally, state, ledger):
    tally.contradictions_reported = 0

    problems = audit(tally, state, ledger).problems
    assert "0 contradictions were reported, 1 are in the file" in problems


def test_a_report_that_is_not_final_is_a_problem(tally, state, ledger):
    before = copy.copy(tally)
    tally.report(report(SECOND, Status.WAITING))
    tally.reports = before.reports

    assert "neither delivered nor dead: sale:2" in audit(tally, state, ledger).problems


def test_long_lists_of_event_ids_are_abridged(tally, state, ledger):
    ledger["meta"]["ids"] |= dict.fromkeys("abcdef", 1)

    assert "a, b, c and 3 more" in audit(tally, state, ledger).problems[-1]


def test_lane_events_change_the_state_of_a_service():
    tally = Tally(1, SERVICES)
    service = tally.services["meta"]

    def state_after(event) -> str:
        tally.notify(event)
        return service.state

    assert "slow" in state_after(LaneThrottled(destination="meta", reason="", seconds=1))
    assert "probing" in state_after(LaneDown(destination="meta", reason=""))
    assert "operator" in state_after(LaneHeld(destination="meta", reason=""))
    assert state_after(LaneResumed(destination="meta")) == ""
    tally.notify(Retried(destination="meta", event_ids=["a", "b"], reason="", seconds=1))
    tally.notify(Dropped(destination="meta", event_ids=["a"], reason=""))
    assert service.retried == 2
