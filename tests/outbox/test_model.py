"""After any sequence of calls, each conversion is in exactly one state per destination.

The same random calls are made on an outbox and on a far simpler model, and both are compared.
"""

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from anytrack_async.errors import QueueFullError
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Appended, Claim, FailedEntry
from anytrack_async.outbox.dead_letters import DeadLetterFilter
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import Clock, sale
from anytrack_async.testing.outbox_rules.base import reopen
from tests.examples import examples
from tests.outbox.model import Model

CAPACITY = 30
ALWAYS = ("alpha", "beta")
OPEN = ("free", "leased")
NUMBERS = st.integers(0, 60)
DELAYS = st.sampled_from([0.0, 5.0, 20.0])


class Machine(RuleBasedStateMachine):
    """Drives an outbox and the model."""

    claims = Bundle("claims")
    isolates = False

    def make(self, folder: Path, clock: Clock) -> Any:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.folder = Path(tempfile.mkdtemp())
        self.outbox = self.make(self.folder, self.clock)
        self.model = Model(isolates=self.isolates)
        self._portal = start_blocking_portal()
        self.portal = self._portal.__enter__()

    def teardown(self) -> None:
        self.call(self.outbox.aclose)
        self._portal.__exit__(None, None, None)
        shutil.rmtree(self.folder)

    def call(self, method: Any, *args: Any, **options: Any) -> Any:
        async def call() -> Any:
            return await method(*args, **options)

        return self.portal.call(call)

    @initialize()
    def open(self) -> None:
        self.call(self.outbox.open, ALWAYS)
        self.model.places = {name: {} for name in ALWAYS}

    @rule(
        numbers=st.lists(NUMBERS, max_size=15),
        revenue=st.sampled_from([1, 1, 1, 2]),
        recipients=st.sampled_from([None, None, ["alpha"], ["beta", "gamma"]]),
    )
    def append(self, numbers: list[int], revenue: int, recipients: Any) -> None:
        conversions = [sale(number, revenue=revenue) for number in numbers]
        names = self.model.places.keys() & (recipients or self.model.places)
        fullest = max(self.model.waiting(name) for name in names)
        try:
            answers = self.call(self.outbox.append, conversions, recipients)
        except QueueFullError:
            new = set(numbers) - (self.model.revenue.keys() - self.model.forgotten)
            assert fullest + len(new) > CAPACITY
            return
        assert len(answers) == len(numbers)
        for number, answer in zip(numbers, answers, strict=True):
            known = self.model.revenue.get(number)
            if known is None or (answer is Appended.NEW and number in self.model.forgotten):
                assert answer is Appended.NEW
                self.model.accept(number, revenue, recipients)
            else:
                assert (answer is Appended.REPEAT) == (known == revenue)
                assert (answer is not Appended.REPEAT) == isinstance(answer, Contradiction)
        assert fullest + answers.count(Appended.NEW) <= CAPACITY

    @rule(target=claims, name=st.sampled_from([*ALWAYS, "gamma"]), limit=st.integers(1, 12))
    def claim(self, name: str, limit: int) -> Claim:
        if name not in self.model.places:
            return Claim(destination=name)
        model, now = self.model, self.clock.now
        claimable, count = model.claimable(name, limit, now)
        claim = self.call(self.outbox.claim, name, limit, 10.0)

        numbers = [int(entry.conversion.order_id) for entry in claim.entries]
        assert len(numbers) == count
        assert set(numbers) <= claimable
        assert numbers == sorted(numbers, key=model.order.index)
        if not numbers:
            due = now + 0.02 if model.due(name, now, isolated=True) else model.next_due(name)
            assert (claim.lease_id, claim.next_due) == (0, due)
            return claim
        lost = {
            entry.seq: model.places[name][number].lost
            for entry, number in zip(claim.entries, numbers, strict=True)
        }
        if self.isolates:
            assert claim.lost_leases == {seq: leases for seq, leases in lost.items() if leases}
        model.leases[name, claim.lease_id] = now + 10.0
        for entry, number in zip(claim.entries, numbers, strict=True):
            assert entry.conversion.revenue == model.revenue[number]
            place = model.places[name][number]
            assert entry.attempts == place.attempts
            place.state, place.lease = "leased", claim.lease_id
            place.is_behind_cursor = True
        return claim

    @rule(claim=claims, fates=st.lists(st.sampled_from(["done", "dead", "retry"]), max_size=12))
    def settle(self, claim: Claim, fates: list[str]) -> None:
        decided = [
            *zip(claim.entries, itertools.chain(fates, itertools.repeat("done")), strict=False)
        ]
        failed = [
            FailedEntry(
                seq=entry.seq,
                attempts=entry.attempts + 1,
                error="no",
                due=self.clock.now + 5 if fate == "retry" else None,
            )
            for entry, fate in decided
            if fate != "done"
        ]
        settled = self.call(self.outbox.settle, claim, failed)
        assert settled is ((claim.destination, claim.lease_id) in self.model.leases)
        if not settled:
            return
        del self.model.leases[claim.destination, claim.lease_id]
        for entry, fate in decided:
            place = self.model.places[claim.destination][int(entry.conversion.order_id or "")]
            place.state = {"retry": "free"}.get(fate, fate)
            place.due = self.clock.now + 5
            place.settled_at = self.clock.now
            place.attempts += fate != "done"
            place.lost = 0

    @rule(claim=claims, delay=DELAYS, counts_as_attempt=st.booleans())
    def release(self, claim: Claim, delay: float, counts_as_attempt: bool) -> None:
        due = self.clock.now + delay
        released = self.call(
            self.outbox.release, claim, due=due, counts_as_attempt=counts_as_attempt
        )
        assert released is ((claim.destination, claim.lease_id) in self.model.leases)
        if released:
            self.model.release(
                claim.destination, claim.lease_id, due, counts_as_attempt=counts_as_attempt
            )

    @rule(claim=claims)
    def renew(self, claim: Claim) -> None:
        key = (claim.destination, claim.lease_id)
        assert self.call(self.outbox.renew, claim, 10.0) is (key in self.model.leases)
        if key in self.model.leases:
            self.model.leases[key] = self.clock.now + 10.0

    @rule(name=st.sampled_from(ALWAYS), numbers=st.none() | st.lists(NUMBERS, max_size=10))
    def replay(self, name: str, numbers: list[int] | None) -> None:
        dead = [
            place
            for number, place in self.model.places[name].items()
            if place.state == "dead" and (numbers is None or number in numbers)
        ]
        ids = None if numbers is None else [f"sale:{number}" for number in numbers]
        assert self.call(self.outbox.replay, name, ids) == len(dead)
        for place in dead:
            place.state, place.attempts, place.due, place.lost = "free", 0, self.clock.now, 0

    @rule(
        name=st.sampled_from(ALWAYS),
        numbers=st.none() | st.lists(NUMBERS, max_size=10),
        min_age=st.sampled_from([0.0, 0.0, 20.0]),
    )
    def discard(self, name: str, numbers: list[int] | None, min_age: float) -> None:
        dead = [
            place
            for number, place in self.model.places[name].items()
            if place.state == "dead"
            and (numbers is None or number in numbers)
            and self.clock.now - place.settled_at >= min_age
        ]
        ids = None if numbers is None else [f"sale:{number}" for number in numbers]
        where = DeadLetterFilter(min_age=min_age)
        assert self.call(self.outbox.discard, name, ids, where=where) == len(dead)
        for place in dead:
            place.state = "discarded"

    @rule(number=NUMBERS, revenue=st.sampled_from([1, 2]))
    def correct(self, number: int, revenue: int) -> None:
        places = {
            name: places[number]
            for name, places in self.model.places.items()
            if number in places and places[number].state == "dead"
        }
        assert set(self.call(self.outbox.correct, sale(number, revenue=revenue))) == set(places)
        if places:
            self.model.revenue[number] = revenue
        for place in places.values():
            place.state, place.attempts, place.due, place.lost = "free", 0, self.clock.now, 0

    @rule(remember=st.sampled_from([1e9, 1e9, 0.0]))
    def prune(self, remember: float) -> None:
        self.call(self.outbox.prune, remember=remember)
        if not remember:
            settled = {
                number
                for number in self.model.order
                if all(
                    number not in places or places[number].state in ("done", "discarded")
                    for places in self.model.places.values()
                )
            }
            self.model.forgotten |= settled

    @rule()
    def join(self) -> None:
        if "gamma" not in self.model.places:
            self.call(reopen, self.outbox, ["gamma"])
            self.model.places["gamma"] = {}

    @rule()
    def forget(self) -> None:
        self.call(self.outbox.forget, "gamma")
        self.model.places.pop("gamma", None)
        self.model.leases = {
            key: until for key, until in self.model.leases.items() if key[0] != "gamma"
        }

    @rule(seconds=DELAYS)
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def reopen(self) -> None:
        self.call(self.outbox.aclose)
        self.call(self.outbox.open, ALWAYS)

    @rule(number=NUMBERS)
    def look_at_the_history(self, number: int) -> None:
        if number not in self.model.revenue or number in self.model.forgotten:
            return
        event_id = f"sale:{number}"
        assert self.call(self.outbox.delivered_at, event_id) == {
            name: places[number].settled_at
            for name, places in self.model.places.items()
            if number in places and places[number].state == "done"
        }
        (found,) = self.call(self.outbox.find, event_id=event_id)
        assert found.conversion in (None, sale(number, revenue=self.model.revenue[number]))

    @invariant()
    def reports_agree_with_the_model(self) -> None:
        if not self.model.places:
            return
        certain = [number for number in self.model.order if number not in self.model.forgotten]
        reports = self.call(self.outbox.reports, [f"sale:{number}" for number in certain])
        status = {
            "done": Status.DELIVERED,
            "dead": Status.DEAD,
            "discarded": Status.DISCARDED,
        }
        for number in certain:
            outcomes = reports[f"sale:{number}"].outcomes
            assert {name: outcome.status for name, outcome in outcomes.items()} == {
                name: status.get(places[number].state, Status.WAITING)
                for name, places in self.model.places.items()
                if number in places
            }
            for name, outcome in outcomes.items():
                if outcome.status is not Status.DELIVERED:
                    assert outcome.attempts == self.model.places[name][number].attempts

    @invariant()
    def depths_and_lists_agree_with_the_model(self) -> None:
        if not self.model.places:
            return
        depths = self.call(self.outbox.depths)
        for name, places in self.model.places.items():
            states = [place.state for place in places.values()]
            live = [
                place
                for place in places.values()
                if place.state == "leased" and self.model.leases[name, place.lease] > self.clock.now
            ]
            open_ = [n for n in self.model.order if n in places and places[n].state in OPEN]
            assert depths[name].dead == states.count("dead")
            assert depths[name].in_flight == len(live)
            assert depths[name].waiting >= len(open_) >= depths[name].retrying
            undelivered = self.call(self.outbox.undelivered, name)
            assert list(undelivered) == [f"sale:{number}" for number in open_]
            letters = self.call(self.outbox.dead_letters, name, where=DeadLetterFilter(text="N"))
            assert [
                (int(letter.conversion.order_id), letter.conversion.revenue) for letter in letters
            ] == [
                (n, self.model.revenue[n])
                for n in self.model.order
                if n in places and places[n].state == "dead"
            ]


class MemoryMachine(Machine):
    def make(self, folder: Path, clock: Clock) -> Any:
        return MemoryOutbox(capacity=CAPACITY, clock=clock)


class SQLiteMachine(Machine):
    isolates = True

    def make(self, folder: Path, clock: Clock) -> Any:
        return SQLiteOutbox(folder / "outbox.db", capacity=CAPACITY, clock=clock)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    monkeypatch.setattr("anytrack_async.outbox.memory.outbox._DROPPED_PER_STEP", 5)
    monkeypatch.setattr("anytrack_async.outbox.sqlite.retention.ROWS_PER_STEP", 5)
    monkeypatch.setattr("anytrack_async.outbox.sqlite.dead_letters.ROWS_PER_STEP", 3)
    monkeypatch.setattr("anytrack_async.outbox.sqlite.dead_letter_pages.DEAD_LETTERS_PER_STEP", 3)


class TestMemory(MemoryMachine.TestCase):
    settings = settings(max_examples=examples(40), stateful_step_count=40, deadline=None)


class TestSQLite(SQLiteMachine.TestCase):
    settings = settings(max_examples=examples(20), stateful_step_count=40, deadline=None)
