"""Attempts that split a batch where the service fails, and probes."""

import anyio
import pytest

from anytrack_async.delivery.attempt import Attempt
from anytrack_async.destinations.sink import (
    BatchRejected,
    NeedsOperator,
    Throttled,
    Unavailable,
    Unfinished,
)
from anytrack_async.models.outcome import DELIVERED, Outcome, Status
from tests.delivery.doubles import FakeSink, attempt_with, rejecting, sales, statuses_of

pytestmark = pytest.mark.asyncio


async def test_a_conversion_that_makes_the_service_fail_is_found():
    attempt, sink = await attempt_with(rejecting({"e3"}, kind=Unavailable), 8, split_failures=True)

    assert attempt.signal is None
    assert statuses_of(attempt.outcomes) == ["delivered"] * 3 + ["retry"] + ["delivered"] * 4
    assert attempt.outcomes[3].error == "bad event"
    assert len(sink.calls) <= 8


async def test_several_failing_conversions_are_found():
    bad = {"e0", "e3", "e6", "e9", "e12"}
    attempt, sink = await attempt_with(rejecting(bad, kind=Unavailable), 16, split_failures=True)

    assert attempt.signal is None
    assert statuses_of(attempt.outcomes).count("retry") == 5
    assert not bad & set(sink.delivered)


async def test_a_conversion_that_makes_the_sink_hang_is_found():
    async def answer(batch):
        if "e0" in batch:
            await anyio.sleep_forever()

    attempt, _ = await attempt_with(answer, 4, split_failures=True, timeout=0.01)

    assert statuses_of(attempt.outcomes) == ["retry", "delivered", "delivered", "delivered"]


async def test_splitting_ends_when_the_service_is_down_after_all():
    attempt, sink = await attempt_with(
        rejecting({f"e{index}" for index in range(64)}, kind=Unavailable), 64, split_failures=True
    )

    assert isinstance(attempt.signal, Unavailable)
    assert len(sink.calls) < 12
    assert statuses_of(attempt.outcomes).count("retry") == 2
    assert statuses_of(attempt.outcomes).count(None) == 62


@pytest.mark.parametrize(
    "signal", [Throttled("slow down", after=1), NeedsOperator("401"), Unfinished("late")]
)
async def test_signals_about_the_whole_batch_are_not_split(signal):
    def answer(_):
        raise signal

    attempt, sink = await attempt_with(answer, split_failures=True)

    assert len(sink.calls) == 1
    assert attempt.signal is signal


async def test_without_splitting_one_failure_ends_the_attempt():
    attempt, sink = await attempt_with(rejecting({"e0"}, kind=Unavailable))

    assert len(sink.calls) == 1
    assert attempt.outcomes == [None] * 4


async def test_the_lease_is_renewed_before_every_request_but_the_first():
    steps = []

    def answer(batch):
        steps.append("send")
        if "e0" in batch:
            raise BatchRejected("bad event")

    async def may_send_next():
        steps.append("renew")
        return True

    await attempt_with(answer, may_send_next=may_send_next)

    assert steps == ["send", "renew", "send", "renew", "send", "renew", "send", "renew", "send"]


async def test_a_lost_lease_ends_the_attempt():
    async def may_send_next():
        return False

    attempt, sink = await attempt_with(rejecting({"e0"}), may_send_next=may_send_next)

    assert len(sink.calls) == 1
    assert attempt.signal is None
    assert attempt.outcomes == [None] * 4


async def test_outcomes_survive_a_cancelled_attempt():
    async def answer(batch):
        if len(batch) == 4:
            raise BatchRejected("one is bad")
        if "e2" in batch:
            await anyio.sleep_forever()

    sink = FakeSink("meta", answer)
    attempt = Attempt(sink, sales(4), timeout=5)
    with anyio.move_on_after(0.02):
        while await attempt.send_next():
            pass

    assert attempt.outcomes == [DELIVERED, DELIVERED, None, None]


AGAIN = Outcome.retry("busy", code="503")


@pytest.mark.parametrize("probe", [0, 2, 3])
async def test_a_probe_is_sent_alone_and_the_rest_follows_its_delivery(probe):
    attempt, sink = await attempt_with(None, probe_index=probe)

    assert [len(call) for call in sink.calls] == [1, 3]
    assert sink.calls[0] == [f"e{probe}"]
    assert attempt.outcomes == [DELIVERED] * 4


@pytest.mark.parametrize(
    "trouble", [Unavailable("503"), Throttled("slow down", after=1), NeedsOperator("401")]
)
async def test_the_rest_is_not_sent_after_a_failed_probe(trouble):
    def answer(_):
        raise trouble

    attempt, sink = await attempt_with(answer, probe_index=2)

    assert sink.calls == [["e2"]]
    assert attempt.outcomes == [None] * 4
    assert attempt.signal is trouble


async def test_the_rest_follows_a_rejected_probe():
    attempt, sink = await attempt_with(rejecting({"e1"}), probe_index=1)

    assert sink.calls == [["e1"], ["e0", "e2", "e3"]]
    assert statuses_of(attempt.outcomes) == ["delivered", "rejected", "delivered", "delivered"]


@pytest.mark.parametrize("count", [1, 4])
async def test_a_probe_to_be_retried_ends_the_attempt(count):
    attempt, sink = await attempt_with(lambda _: [AGAIN], count, probe_index=0)

    assert sink.calls == [["e0"]]
    assert attempt.outcomes == [None] * count
    assert (attempt.signal.reason, attempt.signal.code) == ("busy", "503")


@pytest.mark.parametrize("outcomes", [[AGAIN], [AGAIN, DELIVERED], [DELIVERED, AGAIN], [DELIVERED]])
async def test_retrying_some_conversions_is_not_a_failure_of_the_service(outcomes):
    attempt, _ = await attempt_with(lambda _: outcomes, len(outcomes))

    assert attempt.failure() is None


async def test_a_conversion_without_outcome_among_retries_is_not_a_failure_of_the_service():
    def answer(_):
        raise BatchRejected("one is bad", outcomes=[AGAIN, None])

    async def may_send_next():
        return False

    attempt, _ = await attempt_with(answer, 2, may_send_next=may_send_next)

    assert attempt.outcomes == [AGAIN, None] or attempt.outcomes[1].status is Status.REJECTED
    assert attempt.failure() is None


async def test_retrying_every_conversion_is_a_failure_of_the_service():
    attempt, _ = await attempt_with(lambda _: [AGAIN, AGAIN], 2)

    assert (attempt.failure().reason, attempt.failure().code) == ("busy", "503")


async def test_a_failure_without_a_reason_says_so():
    attempt, _ = await attempt_with(lambda _: [Outcome(status=Status.RETRY)] * 2, 2)

    assert attempt.failure().reason == "no reason given"


async def test_the_signal_that_ends_an_attempt_is_its_failure():
    signal = Unavailable("503")

    def answer(_):
        raise signal

    attempt, _ = await attempt_with(answer)

    assert attempt.failure() is signal
