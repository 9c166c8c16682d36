import math

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytrack_async.delivery.attempt import Attempt
from anytrack_async.destinations.sink import (
    BatchRejected,
    NeedsOperator,
    SinkSignal,
    Throttled,
    Unavailable,
)
from anytrack_async.models.outcome import DELIVERED, Outcome, Status
from tests.delivery.doubles import attempt_with, rejecting, sales, statuses_of
from tests.examples import examples

pytestmark = pytest.mark.asyncio


async def test_a_good_batch_is_one_request():
    attempt, sink = await attempt_with(None)

    assert sink.calls == [["e0", "e1", "e2", "e3"]]
    assert attempt.outcomes == [DELIVERED] * 4
    assert attempt.signal is None


async def test_one_bad_conversion_among_a_thousand_costs_few_requests():
    attempt, sink = await attempt_with(rejecting({"e617"}), 1000)

    assert len(sink.calls) < 30
    assert len(sink.delivered) == 999
    assert attempt.outcomes[617] == Outcome.rejected("bad event", code="100")


@given(st.integers(1, 64).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
@settings(max_examples=examples(60), deadline=None)
async def test_exactly_the_bad_conversions_are_rejected(case):
    count, bad = case
    attempt, sink = await attempt_with(rejecting({f"e{index}" for index in bad}), count)

    assert statuses_of(attempt.outcomes) == [
        "rejected" if index in bad else "delivered" for index in range(count)
    ]
    assert sorted(sink.delivered) == sorted(
        f"e{index}" for index in range(count) if index not in bad
    )
    assert len(sink.calls) <= 1 + 2 * len(bad) * math.ceil(math.log2(max(count, 2)))


async def test_outcomes_of_a_rejected_batch_are_not_sent_again():
    def answer(batch):
        if len(batch) == 4:
            raise BatchRejected("one is bad", outcomes=[DELIVERED, None, None, DELIVERED])
        if "e2" in batch:
            raise BatchRejected("bad event")

    attempt, sink = await attempt_with(answer)

    assert sink.calls[1:] == [["e1"], ["e2"]]
    assert statuses_of(attempt.outcomes) == ["delivered", "delivered", "rejected", "delivered"]


async def test_a_rejection_with_all_outcomes_is_not_a_failure():
    def answer(_):
        raise BatchRejected("some are bad", outcomes=[DELIVERED, Outcome.rejected("no")])

    attempt, sink = await attempt_with(answer, 2)

    assert len(sink.calls) == 1
    assert attempt.signal is None
    assert statuses_of(attempt.outcomes) == ["delivered", "rejected"]


@pytest.mark.parametrize(
    "signal",
    [
        Throttled("slow down", after=5, outcomes=[DELIVERED, None]),
        NeedsOperator("401", outcomes=[DELIVERED, None]),
        Unavailable("503", outcomes=[DELIVERED, None]),
    ],
)
async def test_a_signal_keeps_its_outcomes(signal):
    def answer(_):
        raise signal

    attempt, _ = await attempt_with(answer, 2)

    assert attempt.outcomes == [DELIVERED, None]
    assert attempt.signal is signal


@pytest.mark.parametrize("outcomes", [[DELIVERED], [DELIVERED, "yes"], 7])
async def test_invalid_outcomes_of_a_signal_are_ignored(outcomes):
    def answer(_):
        raise Throttled("slow down", after=5, outcomes=outcomes)

    attempt, _ = await attempt_with(answer, 2)

    assert attempt.outcomes == [None, None]
    assert isinstance(attempt.signal, Throttled)


async def test_a_signal_in_a_half_ends_the_attempt():
    def answer(batch):
        if len(batch) > 2:
            raise BatchRejected("one is bad")
        if "e2" in batch:
            raise Throttled("slow down", after=5)

    attempt, _ = await attempt_with(answer)

    assert attempt.outcomes == [DELIVERED, DELIVERED, None, None]
    assert isinstance(attempt.signal, Throttled)


@pytest.mark.parametrize(
    "answer",
    [
        [DELIVERED],
        [DELIVERED] * 3,
        [DELIVERED, None],
        [DELIVERED, "ok"],
        [DELIVERED, Outcome(status=Status.WAITING)],
        [DELIVERED, Outcome(status=Status.DEAD)],
        7,
        {},
        (outcome for outcome in [DELIVERED] * 2),
    ],
)
async def test_invalid_outcomes_count_as_unavailable(answer):
    attempt, _ = await attempt_with(lambda _: answer, 2)

    assert attempt.outcomes == [None, None]
    assert isinstance(attempt.signal, Unavailable)
    assert "one outcome for each of 2" in attempt.signal.reason


async def test_a_sync_sink_counts_as_unavailable():
    class Plain:
        name = "plain"

        def deliver(self, batch):
            return [DELIVERED] * len(batch)

    attempt = Attempt(Plain(), sales(1), timeout=5)
    await attempt.send_next()

    assert isinstance(attempt.signal, Unavailable)


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("jane@example.com"),
        KeyError("jane@example.com"),
        ExceptionGroup("jane@example.com", [OSError("jane@example.com")]),
        TimeoutError(),
    ],
)
async def test_any_exception_counts_as_unavailable_and_leaks_no_text(exc):
    def answer(_):
        raise exc

    attempt, _ = await attempt_with(answer)

    assert isinstance(attempt.signal, Unavailable)
    assert type(exc).__name__ in attempt.signal.reason
    assert " in answer, line " in attempt.signal.reason
    assert "jane" not in attempt.signal.reason


async def test_a_bare_signal_ends_the_attempt():
    def answer(_):
        raise SinkSignal("odd")

    attempt, _ = await attempt_with(answer, 1)

    assert attempt.signal.reason == "odd"


async def test_a_sink_that_cancels_itself_counts_as_unavailable():
    async def answer(_):
        raise anyio.get_cancelled_exc_class()

    attempt, _ = await attempt_with(answer)

    assert "cancelled itself" in attempt.signal.reason


async def test_a_sink_that_hangs_counts_as_unavailable():
    async def answer(_):
        await anyio.sleep_forever()

    attempt, sink = await attempt_with(answer, timeout=0.01)

    assert attempt.signal.reason == "sink 'meta' did not finish within 0.01 s"
    assert sink.busy == 0
