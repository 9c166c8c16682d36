"""Calls to an outbox whose answer is lost: it is written, or not, and nobody knows."""

from __future__ import annotations

import anyio
import pytest

from anytrack_async.errors import OutboxError, OutcomeUnknownError
from anytrack_async.events import Delivered
from anytrack_async.models.outcome import Outcome
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from tests.delivery.doubles import FakeSink, World, sale, statuses

pytestmark = pytest.mark.asyncio

LOST = OutcomeUnknownError("the connection was lost; append them again")


class Forgetful(MemoryOutbox):
    """Does what it is asked, and then loses the answers of the next calls.

    Attributes:
        losing: method name → how many answers are lost.
        down: how many calls of `append` find no server.
    """

    def __init__(self, **losing):
        super().__init__()
        self.losing, self.down, self.asked = losing, 0, []
        self.changed = lambda: None

    def _answer(self, name, value):
        self.asked.append(name)
        self.changed()
        if self.losing.get(name, 0) > 0:
            self.losing[name] -= 1
            raise LOST
        return value

    async def append(self, conversions, destinations=None):
        if self.asked and self.down:
            self.down -= 1
            raise OutboxError("no connection to the server")
        return self._answer("append", await super().append(conversions, destinations))

    async def settle(self, claim, failed=()):
        return self._answer("settle", await super().settle(claim, failed))

    async def release(self, claim, *, due, counts_as_attempt):
        released = await super().release(claim, due=due, counts_as_attempt=counts_as_attempt)
        return self._answer("release", released)


async def test_submit_appends_again_after_a_lost_answer():
    outbox = Forgetful(append=1)
    outbox.down = 1
    async with World(outbox=outbox).open() as world:
        (delivery,) = await world.submit(sale("a"))
        assert statuses(await delivery) == {"anytrack": "delivered"}

    assert outbox.asked.count("append") == 2
    assert world.sinks[0].delivered == ["a"]


async def test_submit_says_that_the_outcome_is_unknown_when_the_time_is_over():
    outbox = Forgetful(append=1_000)
    async with World(outbox=outbox, accept_within=0.2).open(leaves_undelivered=None) as world:
        with anyio.fail_after(5), pytest.raises(OutcomeUnknownError, match="append them again"):
            await world.submit(sale("a"))
        with pytest.raises(OutcomeUnknownError):
            await world.dispatcher.accept([sale("b")])
        outbox.losing = {}

    assert outbox.asked.count("append") > 2


async def test_accepting_in_bulk_appends_again_after_a_lost_answer():
    outbox = Forgetful(append=1)
    async with World(outbox=outbox).open() as world:
        assert [str(result) for result in await world.dispatcher.accept([sale("a")])] == ["repeat"]


async def test_a_claim_whose_settling_got_no_answer_counts_as_settled(caplog):
    outbox = Forgetful(settle=1)
    async with World(outbox=outbox).open() as world:
        await world.deliver(sale("a"))

    assert outbox.asked.count("settle") == 2
    assert world.sinks[0].delivered == ["a"]
    assert len(world.events_of(Delivered)) == 1
    assert "another worker took over" not in caplog.text


async def test_failures_whose_settling_got_no_answer_are_read_from_the_outbox(caplog):
    outbox = Forgetful(settle=1)
    sink = FakeSink(answer=lambda _: [Outcome.rejected("no")])
    async with World(sink, outbox=outbox).open() as world:
        outbox.changed = world.changed
        await world.submit(sale("a"))
        await world.until(lambda: outbox.asked.count("settle") == 2)
        assert await world.dead() == {"a": "no"}

    assert "another worker took over" not in caplog.text


async def test_a_release_without_an_answer_is_no_lost_lease(caplog):
    outbox = Forgetful(release=1)
    trouble = [OSError(), None]

    def answer(_):
        if exc := trouble.pop(0):
            raise exc

    async with World(FakeSink(answer=answer), outbox=outbox).open() as world:
        await world.deliver(sale("a"))

    assert outbox.asked.count("release") == 2
    assert "another worker took over" not in caplog.text
