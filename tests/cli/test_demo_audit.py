"""Each way in which the two sides can disagree is found; nothing else is."""

from __future__ import annotations

import copy

import attrs
import pytest

from anytrack_async import Conversion, DeadLetter, DestinationStats, Outcome, Report, Stats, Status
from anytrack_async.cli.demo.audit import audit
from anytrack_async.cli.demo.backfill import Kept
from anytrack_async.cli.demo.tally import Tally
from anytrack_async.cli.sample import Fault
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

SERVICES = ("anytrack", "meta")
FIRST = Conversion.sale(order_id="注文 1%", revenue=10)
SECOND = Conversion.sale(order_id="2", revenue=20)
OTHER = Conversion.sale(order_id="2", revenue=21)
FAULT = Fault(line=4, reason="revenue must not be negative", order_id="4")
LINES = [(1, FIRST), (2, SECOND), (3, FIRST), FAULT, (5, OTHER)]


def report(one: Conversion, status: Status = Status.DELIVERED) -> Report:
    outcomes = {name: Outcome(status=status, destination=name) for name in SERVICES}
    return Report(event_id=one.event_id, outcomes=outcomes)


def delivered(name: str, *ids: str) -> Delivered:
    return Delivered(destination=name, event_ids=ids, seconds=0.1)


@pytest.fixture
def tally() -> Tally:
    """Five lines: two conversions, a repeat, a fault, a contradiction; Meta refuses the second."""
    tally = Tally(5, SERVICES)
    list(tally.read(LINES))
    tally.notify(Submitted(event_ids=[FIRST.event_id, SECOND.event_id]))
    tally.notify(delivered("anytrack", FIRST.event_id, SECOND.event_id))
    tally.notify(delivered("meta", FIRST.event_id))
    tally.notify(DeadLettered(destination="meta", event_id=SECOND.event_id, reason="too old"))
    for one in (FIRST, SECOND, FIRST):
        tally.report(report(one))
    tally.report(report(OTHER, Status.CONFLICT))
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
def kept() -> Kept:
    counts = {
        "anytrack": DestinationStats(delivered=2),
        "meta": DestinationStats(delivered=1, dead=1),
    }
    return Kept(stats=Stats(submitted=2, destinations=counts), dead=(LETTER,))


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


def test_nothing_is_wrong_when_both_sides_agree(tally, kept, ledger):
    found = audit(tally, kept, ledger)

    assert found.problems == ()
    assert [(one.name, one.delivered, one.unique, one.dead) for one in found.accounts] == [
        ("anytrack", 2, 2, 0),
        ("meta", 1, 1, 1),
    ]
    assert [(one.requests, one.duplicates, one.faults) for one in found.accounts] == [(3, 1, 3)] * 2


def test_every_bad_line_is_named_with_who_refused_it(tally, kept, ledger):
    found = audit(tally, kept, ledger).rejections

    assert [(one.lines, one.event_id, one.where, one.reason) for one in found] == [
        ((4,), "4", "reading", "revenue must not be negative"),
        ((5,), "sale:2", "outbox", "its event id came before with other content, which stands"),
        ((2,), "sale:2", "meta", "too old"),
    ]


def test_repeats_and_conflicts_are_told_apart(tally):
    assert tally.repeats == 1
    assert tally.conflicts == {5: "sale:2"}


def test_a_conversion_the_ledger_lacks_is_named(tally, kept, ledger):
    del ledger["meta"]["ids"][FIRST.event_id]
    ledger["meta"]["unique"] = 0

    assert audit(tally, kept, ledger).problems == (
        "meta: its ledger counts 0 conversions, we delivered 1",
        f"meta: we call it delivered, its ledger does not have it: {FIRST.event_id}",
    )


def test_a_conversion_only_the_ledger_has_is_named(tally, kept, ledger):
    ledger["meta"]["ids"]["ghost"] = 1
    ledger["meta"]["unique"] = 2

    assert audit(tally, kept, ledger).problems == (
        "meta: its ledger counts 2 conversions, we delivered 1",
        "meta: its ledger has it, we do not call it delivered: ghost",
    )


def test_equal_counts_of_different_conversions_do_not_agree(tally, kept, ledger):
    ledger["meta"]["ids"] = {"another": 1}

    assert len(audit(tally, kept, ledger).problems) == 2


def test_a_conversion_that_is_nowhere_is_named(tally, kept, ledger):
    kept = attrs.evolve(kept, dead=())

    problems = audit(tally, kept, ledger).problems

    assert "meta: neither delivered nor in the dead letters: sale:2" in problems


def test_a_dead_letter_without_a_reason_does_not_count(tally, kept, ledger):
    kept = attrs.evolve(kept, dead=(attrs.evolve(LETTER, error=""),))

    assert any("sale:2" in problem for problem in audit(tally, kept, ledger).problems)


def test_a_conversion_that_is_delivered_and_dead_is_named(tally, kept, ledger):
    tally.notify(delivered("meta", SECOND.event_id))

    problems = audit(tally, kept, ledger).problems

    assert "meta: delivered and in the dead letters: sale:2" in problems


def test_counters_that_differ_from_the_events_are_told(tally, kept, ledger):
    counts = {**kept.stats.destinations, "anytrack": DestinationStats(delivered=7)}
    kept = attrs.evolve(kept, stats=Stats(submitted=2, destinations=counts))

    (problem,) = audit(tally, kept, ledger).problems

    assert problem == ("anytrack: the client counts 7 delivered and 0 dead, its observer 2 and 0")


def test_a_line_without_a_report_is_told(tally, kept, ledger):
    tally.reports -= 1

    (problem,) = audit(tally, kept, ledger).problems

    assert problem == "of 5 lines, 5 were read and 4 are accounted for"


def test_lines_that_were_never_read_are_told(tally, kept, ledger):
    tally.size = 6

    assert "of 6 lines, 5 were read" in audit(tally, kept, ledger).problems[0]


def test_a_conflict_nobody_reported_is_told(tally, kept, ledger):
    tally.refused = 0

    assert "0 conflicts were reported, 1 are in the file" in audit(tally, kept, ledger).problems


def test_a_report_that_is_not_final_is_told(tally, kept, ledger):
    before = copy.copy(tally)
    tally.report(report(SECOND, Status.WAITING))
    tally.reports = before.reports

    assert "neither delivered nor dead: sale:2" in audit(tally, kept, ledger).problems


def test_many_names_are_cut_short(tally, kept, ledger):
    ledger["meta"]["ids"] |= dict.fromkeys("abcdef", 1)

    assert "a, b, c and 3 more" in audit(tally, kept, ledger).problems[-1]


def test_an_observed_lane_tells_what_it_does():
    tally = Tally(1, SERVICES)
    service = tally.services["meta"]

    def state_after(event) -> str:
        tally.notify(event)
        return service.state

    assert "slow" in state_after(LaneThrottled(destination="meta", reason="", seconds=1))
    assert "probing" in state_after(LaneDown(destination="meta", reason=""))
    assert "credentials" in state_after(LaneHeld(destination="meta", reason=""))
    assert state_after(LaneResumed(destination="meta")) == ""
    tally.notify(Retried(destination="meta", event_ids=["a", "b"], reason="", seconds=1))
    tally.notify(Dropped(destination="meta", event_ids=["a"], reason=""))
    assert service.retried == 2
