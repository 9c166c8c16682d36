"""A pump confirms what the outbox has, puts aside what is no conversion, gives back the rest."""

from __future__ import annotations

import anyio
import attrs
import pytest

from anytrack_async import (
    AnyTrackClient,
    ClosedError,
    ConfigurationError,
    Conversion,
    FeedError,
    OutboxError,
    PumpCounts,
    QueueFullError,
    pump,
)

pytestmark = pytest.mark.asyncio


def sale(order: int, **fields: object) -> Conversion:
    return Conversion.sale(order_id=str(order), revenue=order, **fields)


@attrs.define(eq=False)
class Batch:
    """A batch that notes the answers it gets."""

    payloads: list[bytes]
    lease: float = 60.0
    answers: list[tuple] = attrs.Factory(list)
    renewed: anyio.Event = attrs.Factory(anyio.Event)
    unreachable: bool = False

    async def accepted(self):
        self._check()
        self.answers.append(("accepted",))

    async def later(self, seconds):
        self._check()
        self.answers.append(("later", seconds))

    async def refused(self, index, reason):
        self._check()
        self.answers.append(("refused", index, reason))

    async def renew(self):
        self.renewed.set()
        self._check()

    def _check(self):
        if self.unreachable:
            raise FeedError("gone")


class Batches:
    """A feed of some batches, which ends; or stays silent, if it is told to."""

    def __init__(self, *batches: Batch, ends: bool = True) -> None:
        self.batches = batches
        self.ends = ends
        self.taken = anyio.Event()

    async def __aiter__(self):
        for batch in self.batches:
            yield batch
        self.taken.set()
        if not self.ends:
            await anyio.sleep_forever()


def batch(*conversions: Conversion, **fields) -> Batch:
    return Batch([conversion.to_json().encode() for conversion in conversions], **fields)


async def stored(client: AnyTrackClient) -> int:
    return (await client.outbox.depths())["anytrack"].waiting


@pytest.fixture
def no_pauses(monkeypatch):
    """Pauses of the pump take a moment, and are noted."""
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("anytrack_async.feeds.pump._sleep", pause)
    return pauses


async def test_conversions_are_confirmed_when_they_are_in_the_outbox(client):
    class Confirmed(Batch):
        async def accepted(self):
            assert await stored(client) == 2
            await super().accepted()

    first, second = Confirmed(batch(sale(1), sale(2)).payloads), batch(sale(2), sale(3))
    counts = await pump(Batches(first, second), client)
    assert first.answers == second.answers == [("accepted",)]
    assert (counts.accepted, counts.repeats) == (3, 1)


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"{", "must be JSON"),
        (b'{"conversion_type": "sale", "revenue": "much"}', "revenue"),
        (None, "conversion must be JSON as bytes, got NoneType"),
        (b'{"conversion_type": "lead", "order_id": "nan"}', "event_id is missing, and so are"),
        (b"\xff", "must be JSON"),
    ],
)
async def test_a_message_that_is_no_conversion_is_refused_and_stops_nothing(
    client, payload, problem
):
    good = batch(sale(1), sale(2))
    good.payloads.insert(1, payload)
    counts = await pump(Batches(good), client)
    (_, index, reason), *others = good.answers
    assert index == 1
    assert problem in reason
    assert "much" not in reason
    assert others == [("accepted",)]
    assert (counts.accepted, counts.refused) == (2, 1)


async def test_a_message_without_an_id_counts_once_however_often_it_comes(client):
    message = b'{"conversion_type": "lead", "timestamp": "2026-05-01T10:00:00Z", "source": "%d"}'
    texts = [(message % 1).decode(), memoryview(message % 2)]
    feed = Batches(Batch([message % 1, message % 2]), Batch([message % 1]), Batch(texts))

    counts = await pump(feed, client)

    assert (counts.accepted, counts.repeats) == (2, 3)


async def test_a_conversion_that_is_too_large_is_refused_alone(client):
    large = sale(2, custom_data={"text": "x" * 2**20})
    mixed = batch(sale(1), large, sale(3))
    await pump(Batches(mixed), client)
    assert [answer[:2] for answer in mixed.answers] == [("refused", 1), ("accepted",)]
    assert await stored(client) == 2


async def test_a_batch_larger_than_the_outbox_is_appended_in_parts(client, no_pauses):
    over = batch(*map(sale, range(1_000, 2_500)))
    async with anyio.create_task_group() as tg:
        tg.start_soon(pump, Batches(over), client)
        while not over.answers:
            claim = await client.outbox.claim("anytrack", 500, 60)
            await client.outbox.settle(claim)
            await anyio.lowlevel.checkpoint()
    assert over.answers == [("accepted",)]


async def test_a_full_outbox_keeps_the_batch_and_renews_it(client, no_pauses):
    await client.accept_many(map(sale, range(1_000)))
    waiting = batch(sale(1_000), lease=0.003)
    async with anyio.create_task_group() as tg:
        tg.start_soon(pump, Batches(waiting), client)
        await waiting.renewed.wait()
        assert waiting.answers == []
        await client.outbox.settle(await client.outbox.claim("anytrack", 500, 60))
    assert waiting.answers == [("accepted",)]
    assert await stored(client) == 501


async def test_a_failing_outbox_gives_the_batch_back_for_longer_each_time(
    client, no_pauses, monkeypatch
):
    async def fail(*_arguments):
        raise OutboxError("disk full")

    monkeypatch.setattr(client.outbox, "append", fail)
    batches = [batch(sale(1)) for _ in range(8)]
    counts = await pump(Batches(*batches), client)
    assert [answers for each in batches for answers in each.answers] == [
        ("later", seconds) for seconds in (1, 2, 4, 8, 16, 32, 60, 60)
    ]
    assert counts.postponed == 8
    assert [*filter(None, no_pauses)][-1] == 60


async def test_a_message_that_cannot_be_put_aside_is_not_confirmed(client, no_pauses):
    bad = Batch([b"{"], unreachable=True)
    counts = await pump(Batches(bad, batch(sale(1))), client)
    assert bad.answers == []
    assert (counts.refused, counts.accepted) == (0, 1)


async def test_a_failed_confirmation_ends_nothing(client):
    lost = batch(sale(1), unreachable=True)
    counts = await pump(Batches(lost, batch(sale(1))), client)
    assert (counts.accepted, counts.repeats) == (1, 1)


async def test_a_failed_renewal_ends_nothing(client, no_pauses):
    await client.accept_many(map(sale, range(1_000)))
    waiting = batch(sale(1_000), lease=0.003, unreachable=True)
    async with anyio.create_task_group() as tg:
        tg.start_soon(pump, Batches(waiting), client)
        await waiting.renewed.wait()
        await client.outbox.settle(await client.outbox.claim("anytrack", 500, 60))
    assert await stored(client) == 501


@pytest.mark.parametrize("unreachable", [False, True])
async def test_a_stopped_pump_gives_its_batch_back_at_once(client, no_pauses, unreachable):
    await client.accept_many(map(sale, range(1_000)))
    waiting = batch(sale(1_000), lease=0.003, unreachable=unreachable)
    async with anyio.create_task_group() as tg:
        tg.start_soon(pump, Batches(waiting), client)
        await waiting.renewed.wait()
        tg.cancel_scope.cancel()
    assert waiting.answers == ([] if unreachable else [("later", 0)])


async def test_a_closed_client_ends_the_pump(client, path):
    closed = AnyTrackClient("key", "account", outbox=path)
    waiting = batch(sale(1), lease=float("inf"))
    with pytest.raises(ClosedError):
        await pump(Batches(waiting), closed)
    assert waiting.answers == [("later", 0)]


async def test_an_outbox_in_memory_is_refused():
    async with AnyTrackClient("key", "account") as client:
        with pytest.raises(ConfigurationError, match=r"durable outbox: .* MemoryOutbox"):
            await pump(Batches(), client)


async def test_an_unknown_destination_is_refused(client):
    with pytest.raises(ConfigurationError, match="nowhere"):
        await pump(Batches(), client, to=["nowhere"])


async def test_counts_can_be_watched(client):
    counts = PumpCounts()
    feed = Batches(batch(sale(1)), ends=False)
    async with anyio.create_task_group() as tg:
        tg.start_soon(lambda: pump(feed, client, to=["anytrack"], counts=counts))
        await feed.taken.wait()
        assert counts.accepted == 1
        tg.cancel_scope.cancel()


async def test_queue_full_errors_of_a_single_conversion_refuse_it(client, monkeypatch):
    async def fail(*_arguments):
        raise QueueFullError("larger than the outbox", too_large=True)

    monkeypatch.setattr(client.outbox, "append", fail)
    huge = batch(sale(1))
    await pump(Batches(huge), client)
    assert [answer[0] for answer in huge.answers] == ["refused", "accepted"]
