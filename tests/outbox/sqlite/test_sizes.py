"""Bytes that an outbox on disk has in memory: its cache, a commit, a page, encrypted claims."""

import asyncio
import threading

import pytest

from anytrack_async.codec.encryption import KeyRing, new_key
from anytrack_async.errors import QueueFullError, UnsendableError
from anytrack_async.events import BackPressure
from anytrack_async.outbox.base import FailedEntry
from anytrack_async.outbox.checks import MAX_CLAIM_BYTES
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.testing.outbox_contract import LEASE, sale, sales
from anytrack_async.testing.outbox_rules.base import deliver, orders
from anytrack_async.testing.outbox_rules.sizes import large
from tests.delivery.doubles import BlockingAnswer, FakeSink, World, run_ready_tasks

pytestmark = pytest.mark.asyncio

NUMBERS = {"rows": [[]] * 20_000}
"""60 KB as a record, and over 3 MB as objects."""


def cached(outbox):
    return [conversion.order_id for conversion in outbox._cache._by_seq.values()]


# The cache


async def test_large_conversions_are_not_kept_when_they_are_accepted(outbox):
    await outbox.append([large(1)])
    await outbox.append([sale(2)])
    await outbox.append([large(3), *sales(4, 5)])

    assert cached(outbox) == ["2"]


async def test_large_conversions_are_not_kept_when_they_are_decoded(outbox):
    await outbox.append([large(1)])
    await outbox.append([sale(2)])
    outbox._cache._by_seq.clear()

    assert orders(await outbox.claim("alpha", 9, LEASE)) == [1, 2]
    assert cached(outbox) == ["2"]


# Commits and pages


async def test_a_group_of_large_calls_is_written_in_parts(outbox):
    may_go_on = threading.Event()
    blocking = asyncio.create_task(outbox._run(lambda _: may_go_on.wait()))
    calls = [
        asyncio.create_task(outbox.append([large(5 * call + n) for n in range(5)]))
        for call in range(4)
    ]
    await asyncio.sleep(0)
    before = outbox._group_commit.groups
    may_go_on.set()
    await asyncio.gather(blocking, *calls)

    assert outbox._group_commit.groups - before == len(calls)
    assert await deliver(outbox, "alpha") == list(range(20))


async def test_a_page_of_large_dead_letters_is_short(outbox):
    await outbox.append([large(order) for order in range(12)])
    while (claim := await outbox.claim("alpha", 9, LEASE)).entries:
        failures = [FailedEntry(seq=seq, attempts=1, error="no") for seq in claim.entries.seqs]
        await outbox.settle(claim, failures)

    assert len(await outbox.dead_letters(limit=50)) == 8 * 2**20 // 900_000


async def test_a_conversion_that_is_far_too_large_is_not_encoded(monkeypatch):
    monkeypatch.setattr("anytrack_async.codec.storage.record_of", None)
    outbox = MemoryOutbox()
    await outbox.open(["alpha"])

    with pytest.raises(UnsendableError, match=r"custom_data\.note is too large"):
        await outbox.append([large(1, 5_000_000)])


# Encrypted


@pytest.fixture
def encrypted(path):
    pytest.importorskip("cryptography")
    return SQLiteOutbox(path, keys=KeyRing(new_key()), capacity=24)


async def test_large_conversions_are_not_kept_when_they_are_decrypted(encrypted):
    await encrypted.open(["alpha"])
    await encrypted.append([large(1), sale(2)])
    encrypted._cache._by_seq.clear()

    claim = await encrypted.claim("alpha", 9, LEASE)

    assert (orders(claim), cached(encrypted)) == ([1, 2], ["2"])
    await encrypted.aclose()


async def test_a_claim_of_encrypted_conversions_has_the_bytes_of_their_objects(encrypted):
    await encrypted.open(["alpha"])
    await encrypted.append([sale(order, custom_data=NUMBERS) for order in range(3)])
    encrypted._cache._by_seq.clear()

    claims = [await encrypted.claim("alpha", 9, LEASE) for _ in range(3)]

    assert [orders(claim) for claim in claims] == [[0], [1], [2]]
    assert all(3_000_000 < claim.large_bytes <= MAX_CLAIM_BYTES for claim in claims)
    await encrypted.aclose()


async def test_encrypted_batches_in_flight_are_bounded_and_a_full_outbox_says_so(encrypted):
    answer = BlockingAnswer()
    sink = FakeSink("alpha", answer, batch=100, concurrency=8)
    settings = DeliverySettings(on_full="raise", in_flight_bytes=8 * 2**20)
    world = World(sink, outbox=encrypted, settings=settings)
    async with world.open():
        await world.submit(*[large(order) for order in range(24)])
        # Two batches of 4 are 7.2 MB, the third passes 8 MiB.
        await world.until(lambda: len(sink.calls) == 3)
        await run_ready_tasks()
        with pytest.raises(QueueFullError):
            await world.submit(large(24))
        assert [len(call) for call in sink.calls] == [4, 4, 4]
        answer.open()
        await world.until(lambda: len(sink.delivered) == 24)

    assert world.events_of(BackPressure)
    assert sorted(sink.delivered) == sorted(f"sale:{order}" for order in range(24))
