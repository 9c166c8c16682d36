"""Halving where the service fails, and probing."""

import anyio
import pytest

from anytrack_async.delivery.attempt import Attempt, attempt
from anytrack_async.destinations.sink import (
    BatchRejected,
    NeedsOperator,
    Throttled,
    Unavailable,
    Unfinished,
)
from anytrack_async.models.outcome import DELIVERED, Outcome, Status
from tests.delivery.doubles import FakeSink, sales

pytestmark = pytest.mark.asyncio


async def always():
    return True


async def trying(answer, count=4, *, split=False, within=5.0, between=always):
    """Return the attempt, and the batches that the sink was asked for."""
    sink = FakeSink("meta", answer)
    tried = Attempt([None] * count, split=split)
    await attempt(sink, sales(count), tried, within=within, between=between)
    return tried, sink


def refusing(bad, *, kind=BatchRejected):
    def answer(batch):
        if bad & set(batch):
            raise kind("bad event", code="100")

    return answer


def short(outcomes):
    return [one.status.value if one else None for one in outcomes]


async def test_a_conversion_that_breaks_the_service_is_found_by_halving():
    tried, sink = await trying(refusing({"e3"}, kind=Unavailable), 8, split=True)

    assert tried.signal is None
    assert short(tried.outcomes) == ["delivered"] * 3 + ["retry"] + ["delivered"] * 4
    assert tried.outcomes[3].error == "bad event"
    assert len(sink.calls) <= 8


async def test_several_that_break_the_service_are_found_as_long_as_others_pass_between():
    bad = {"e0", "e3", "e6", "e9", "e12"}
    tried, sink = await trying(refusing(bad, kind=Unavailable), 16, split=True)

    assert tried.signal is None
    assert short(tried.outcomes).count("retry") == 5
    assert not bad & set(sink.taken)


async def test_a_conversion_that_makes_the_sink_hang_is_found_by_halving():
    async def answer(batch):
        if "e0" in batch:
            await anyio.sleep_forever()

    tried, _ = await trying(answer, 4, split=True, within=0.01)

    assert short(tried.outcomes) == ["retry", "delivered", "delivered", "delivered"]


async def test_halving_gives_up_when_the_service_is_down_after_all():
    tried, sink = await trying(
        refusing({f"e{at}" for at in range(64)}, kind=Unavailable), 64, split=True
    )

    assert isinstance(tried.signal, Unavailable)
    assert len(sink.calls) < 12
    assert short(tried.outcomes).count("retry") == 2
    assert short(tried.outcomes).count(None) == 62


@pytest.mark.parametrize(
    "signal", [Throttled("slow down", after=1), NeedsOperator("401"), Unfinished("late")]
)
async def test_only_silence_is_halved_as_well(signal):
    def answer(_):
        raise signal

    tried, sink = await trying(answer, split=True)

    assert len(sink.calls) == 1
    assert tried.signal is signal


async def test_without_halving_one_failure_ends_the_try():
    tried, sink = await trying(refusing({"e0"}, kind=Unavailable))

    assert len(sink.calls) == 1
    assert tried.outcomes == [None] * 4


async def test_the_lease_is_renewed_before_every_request_but_the_first():
    steps = []

    def answer(batch):
        steps.append("send")
        if "e0" in batch:
            raise BatchRejected("bad event")

    async def between():
        steps.append("renew")
        return True

    await trying(answer, between=between)

    assert steps == ["send", "renew", "send", "renew", "send", "renew", "send", "renew", "send"]


async def test_a_lost_lease_ends_the_try():
    async def between():
        return False

    tried, sink = await trying(refusing({"e0"}), between=between)

    assert len(sink.calls) == 1
    assert tried.signal is None
    assert tried.outcomes == [None] * 4


async def test_what_is_known_survives_a_cancelled_try():
    async def answer(batch):
        if len(batch) == 4:
            raise BatchRejected("one is bad")
        if "e2" in batch:
            await anyio.sleep_forever()

    sink = FakeSink("meta", answer)
    tried = Attempt([None] * 4)
    with anyio.move_on_after(0.02):
        await attempt(sink, sales(4), tried, within=5, between=always)

    assert tried.outcomes == [DELIVERED, DELIVERED, None, None]


AGAIN = Outcome.retry("busy", code="503")


async def probing(answer, probe, count=4):
    sink = FakeSink("meta", answer)
    tried = Attempt([None] * count, probe=probe)
    await attempt(sink, sales(count), tried, within=5, between=always)
    return tried, sink


@pytest.mark.parametrize("probe", [0, 2, 3])
async def test_a_probe_leaves_alone_and_the_others_follow_if_it_is_taken(probe):
    tried, sink = await probing(None, probe)

    assert [len(call) for call in sink.calls] == [1, 3]
    assert sink.calls[0] == [f"e{probe}"]
    assert tried.outcomes == [DELIVERED] * 4


@pytest.mark.parametrize(
    "trouble", [Unavailable("503"), Throttled("slow down", after=1), NeedsOperator("401")]
)
async def test_a_probe_that_fails_keeps_the_others_back(trouble):
    def answer(_):
        raise trouble

    tried, sink = await probing(answer, 2)

    assert sink.calls == [["e2"]]
    assert tried.outcomes == [None] * 4
    assert tried.signal is trouble


async def test_a_probe_that_is_refused_is_an_answer():
    tried, sink = await probing(refusing({"e1"}), 1)

    assert sink.calls == [["e1"], ["e0", "e2", "e3"]]
    assert short(tried.outcomes) == ["delivered", "rejected", "delivered", "delivered"]


@pytest.mark.parametrize("count", [1, 4])
async def test_a_probe_that_is_to_be_tried_again_is_none(count):
    tried, sink = await probing(lambda _: [AGAIN], 0, count)

    assert sink.calls == [["e0"]]
    assert tried.outcomes == [None] * count
    assert (tried.signal.reason, tried.signal.code) == ("busy", "503")


@pytest.mark.parametrize(
    "outcomes", [[AGAIN], [AGAIN, DELIVERED], [AGAIN, None], [None], [DELIVERED]]
)
async def test_a_conversion_to_be_tried_again_is_no_failure_of_the_service(outcomes):
    assert Attempt(outcomes).refusal() is None


async def test_a_batch_that_is_all_to_be_tried_again_is_a_failure_of_the_service():
    signal = Attempt([AGAIN, AGAIN]).refusal()

    assert (signal.reason, signal.code) == ("busy", "503")
    assert Attempt([Outcome(status=Status.RETRY)] * 2).refusal().reason == "no reason given"
