"""Refusals that may concern every conversion, and which conversions are rejected for them."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.sink import (
    BatchRejected,
    Inconclusive,
    NeedsOperator,
    Throttled,
    Unavailable,
)
from anytrack_async.events import DeadLettered, LaneDown
from anytrack_async.models.outcome import DELIVERED, Outcome
from anytrack_async.settings.http import Retry
from tests.delivery.doubles import (
    Clock,
    FakeSink,
    World,
    attempt_with,
    run_ready_tasks,
    sale,
    sales,
)

pytestmark = pytest.mark.asyncio


def refuse(batch: Collection[str]) -> None:
    """Refuse *batch* as a sink does after an error that names no event."""
    if len(batch) > 1:
        raise BatchRejected("error 100", code="100")
    raise Inconclusive("error 100", code="100")


def refusing(bad: Collection[str]) -> Callable[[list[str]], None]:
    def answer(batch: list[str]) -> None:
        if set(bad) & set(batch):
            refuse(batch)

    return answer


def up_to(count: int, answer: Callable[[list[str]], None]) -> Callable[[list[str]], None]:
    """Return an answer that refuses everything after *count* requests."""
    requests = 0

    def respond(batch: list[str]) -> None:
        nonlocal requests
        requests += 1
        answer(batch) if requests <= count else refuse(batch)

    return respond


def statuses(outcomes: Collection[Outcome | None]) -> list[str | None]:
    return [outcome and outcome.status.value for outcome in outcomes]


async def test_nothing_is_rejected_where_the_service_refuses_everything():
    attempt, sink = await attempt_with(refuse, 64)

    assert attempt.outcomes == [None] * 64
    assert isinstance(attempt.signal, Inconclusive)
    assert len(sink.calls) < 12


async def test_a_conversion_refused_twice_between_others_that_are_accepted_is_rejected():
    attempt, sink = await attempt_with(refusing({"e1"}), 4)

    assert statuses(attempt.outcomes) == ["delivered", "rejected", "delivered", "delivered"]
    assert (attempt.outcomes[1].error, attempt.outcomes[1].code) == ("error 100", "100")
    assert attempt.signal is None
    assert sink.calls[-2:] == [["e1"], ["e0"]]


async def test_a_conversion_that_is_accepted_the_second_time_is_delivered():
    refusals = iter([True] * 3)

    def answer(batch: list[str]) -> None:
        if "e1" in batch and next(refusals, False):
            refuse(batch)

    attempt, _ = await attempt_with(answer, 4)

    assert attempt.outcomes == [DELIVERED] * 4


@pytest.mark.parametrize("requests", range(1, 7))
async def test_nothing_is_rejected_where_the_service_begins_to_refuse_everything(requests: int):
    attempt, _ = await attempt_with(up_to(requests, refusing({"e1"})), 4)

    assert "rejected" not in statuses(attempt.outcomes)
    assert isinstance(attempt.signal, Inconclusive)


@pytest.mark.parametrize(
    "trouble", [Throttled("slow", after=1), NeedsOperator("401"), Unavailable("503")]
)
async def test_a_signal_instead_of_the_second_refusal_rejects_nothing(trouble: Exception):
    alone = 0

    def answer(batch: list[str]) -> None:
        nonlocal alone
        alone += batch == ["e1"]
        if alone > 1:
            raise trouble
        refusing({"e1"})(batch)

    attempt, _ = await attempt_with(answer, 4)

    assert statuses(attempt.outcomes) == ["delivered", None, "delivered", "delivered"]
    assert attempt.signal is trouble


async def test_a_control_that_is_to_be_retried_rejects_nothing():
    def answer(batch: list[str]) -> list[Outcome] | None:
        refusing({"e1"})(batch)
        again = batch in delivered
        delivered.append(batch)
        return [Outcome.retry("busy")] if again else None

    delivered: list[list[str]] = []
    attempt, _ = await attempt_with(answer, 4)

    assert statuses(attempt.outcomes) == ["delivered", None, "delivered", "delivered"]
    assert attempt.signal.reason == "busy"


@given(st.sets(st.integers(0, 15), max_size=14))
async def test_exactly_the_conversions_that_are_refused_alone_are_rejected(bad: set[int]):
    """Unless the first three in a row are among them: then the service seems to refuse all."""
    attempt, _ = await attempt_with(refusing({f"e{index}" for index in bad}), 16)

    rejected = {index for index, outcome in enumerate(attempt.outcomes) if outcome != DELIVERED}
    if attempt.signal is None:
        assert rejected == bad
        assert None not in attempt.outcomes
    else:
        assert {0, 1, 2} <= bad
        assert attempt.outcomes == [None] * 16


async def test_many_suspects_after_a_delivery_are_told_apart_by_controls():
    bad = {f"e{index}" for index in range(4, 12)}
    attempt, sink = await attempt_with(refusing(bad), 16)

    assert {f"e{i}" for i, outcome in enumerate(attempt.outcomes) if outcome != DELIVERED} == bad
    assert len(sink.calls) < 40


async def test_the_rest_is_not_sent_after_a_refused_probe():
    attempt, sink = await attempt_with(refuse, 4, probe_index=2)

    assert sink.calls == [["e2"]]
    assert isinstance(attempt.signal, Inconclusive)
    assert attempt.outcomes == [None] * 4


@pytest.mark.parametrize("count", [1, 10])
async def test_a_lane_gives_up_nothing_however_often_everything_is_refused(count: int):
    clock = Clock()
    sink = FakeSink(answer=refuse)
    world = World(sink, clock=clock, retry=Retry(attempts=1, base=1.0, cap=1.0), max_age=10.0)
    async with world.open():
        deliveries = await world.submit(*sales(count))
        for _ in range(20):
            await run_ready_tasks()
            clock.now += 5
            world.dispatcher.wake()
        assert world.events_of(LaneDown)
        sink.answer = lambda _: None
        clock.now += 60
        world.dispatcher.wake()
        for delivery in deliveries:
            assert (await delivery).delivered

    assert not world.events_of(DeadLettered)


async def test_a_refused_conversion_does_not_stop_the_lane():
    clock = Clock()
    world = World(
        FakeSink(answer=refusing({"bad"})), clock=clock, retry=Retry(attempts=2, base=1.0)
    )
    async with world.open():
        await world.submit(sale("bad"))
        await run_ready_tasks()
        for number in range(5):
            await world.deliver(sale(f"good{number}"))
        clock.now += 60
        world.dispatcher.wake()
        await world.submit(sale("good5"))
        await world.until(lambda: world.events_of(DeadLettered))

    (letter,) = world.events_of(DeadLettered)
    assert (letter.event_id, letter.reason) == ("bad", "error 100")
