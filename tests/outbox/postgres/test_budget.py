"""The room that is known without counting, and what a refusal says about it."""

import pytest

from anytrack_async.outbox.postgres import budget as budget_module
from anytrack_async.outbox.postgres.budget import COUNTED_FOR, Budget


@pytest.fixture
def clock(monkeypatch):
    """A list with the time, which passes only when a test sets it."""
    now = [1_000.0]
    monkeypatch.setattr(budget_module, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def budget(clock):
    """Room for 60 more conversions for "alpha", and for 90 for "beta"."""
    budget = Budget(100)
    budget.count({"alpha": 40, "beta": 10})
    return budget


def test_half_of_the_room_is_given_away_without_counting(budget):
    assert budget.covers(["alpha"], 30)
    assert not budget.covers(["alpha"], 31)
    assert budget.covers(["beta"], 45)
    assert not budget.covers(None, 45)
    budget.take(["alpha"], 10)
    assert not budget.covers(["alpha"], 30)
    assert (budget.room(["alpha"]), budget.room(None), budget.room(["beta"])) == (50, 50, 90)


def test_a_count_is_old_after_some_seconds(budget, clock):
    clock[0] += COUNTED_FOR
    assert not budget.covers(["alpha"], 1)
    budget.postpone()
    assert budget.covers(["alpha"], 1)


def test_a_call_that_is_refused_while_another_has_just_been_names_the_destination_too(budget):
    for _ in range(2):
        assert budget.full(None, 70) == {"alpha": 40}
        budget.forget()
    assert budget.room(None) is None
    assert not budget.covers(None, 1)


def test_a_refusal_names_all_destinations_if_room_was_made_meanwhile(budget):
    budget.count({"alpha": 0, "beta": 0})
    assert budget.full(None, 70) == {"alpha": 0, "beta": 0}
    assert budget.full(["beta"], 70) == {"beta": 0}
