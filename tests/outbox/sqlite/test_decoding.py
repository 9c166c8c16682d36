"""Claims on an outbox file: the cache of decoded conversions, and records that cannot be read."""

import logging
from collections import OrderedDict

import pytest

from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Depth, FailedEntry
from anytrack_async.outbox.sqlite.decoding import ConversionCache
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale, sales

# The cache


class InterruptedDict(OrderedDict):
    """Lets another thread in, once, at the worst moment: while the length is read."""

    def __init__(self, interruption):
        super().__init__()
        self._interruptions = [interruption]

    def __len__(self):
        length = super().__len__()
        if length and self._interruptions:
            self._interruptions.pop()()
        return length


def remember(cache, first, *numbers):
    cache.remember(first, sales(*numbers), [b"%d" % number for number in numbers])


def test_two_threads_that_add_at_once_do_not_remove_too_many():
    cache = ConversionCache(1)
    cache._by_seq = InterruptedDict(lambda: remember(cache, 4, 4))
    remember(cache, 1, 1, 2, 3)

    assert len(cache._by_seq) <= 1
    assert cache._digests.keys() == cache._by_seq.keys()


def test_the_cache_keeps_the_newest_conversions():
    cache = ConversionCache(3)
    remember(cache, 1, 1, 2)
    remember(cache, 3, 3, 4, 5)

    assert list(cache._by_seq.items()) == [(n, sale(n)) for n in (3, 4, 5)]
    assert cache._digests == {n: b"%d" % n for n in (3, 4, 5)}


@pytest.mark.asyncio
async def test_the_cache_is_emptied_when_the_file_is_opened_again(outbox, path, clock):
    await outbox.append(sales(1))
    await outbox.aclose()
    path.unlink()
    other = SQLiteOutbox(path, clock=clock)
    await other.open(["alpha"])
    await other.append(sales(2))
    await other.aclose()

    await outbox.open(["alpha"])
    claim = await outbox.claim("alpha", 1, LEASE)

    assert [entry.conversion for entry in claim.entries] == sales(2)


# Unreadable records


async def corrupt(outbox, path, *orders):
    """Make the records of some orders unreadable, and return another outbox on the file."""
    ids = [f"sale:{order}" for order in orders]
    await outbox._run(
        lambda db: db.sql.executemany(
            "UPDATE log SET payload = x'00ff' WHERE seq = (SELECT seq FROM ids WHERE event_id = ?)",
            [(event_id,) for event_id in ids],
        )
    )
    await outbox.aclose()
    other = SQLiteOutbox(path, clock=outbox.now)
    await other.open(["alpha", "beta"])
    return other


def order_ids(claim):
    return [entry.conversion.order_id for entry in claim.entries]


@pytest.mark.asyncio
async def test_an_unreadable_record_dies_when_the_rest_of_its_claim_is_settled(outbox, path):
    await outbox.append(sales(1, 2, 3))
    outbox = await corrupt(outbox, path, 2)

    claim = await outbox.claim("alpha", 9, LEASE)
    assert order_ids(claim) == ["1", "3"]
    retry = FailedEntry(seq=claim.entries[0].seq, attempts=1, error="later", due=0.0)
    assert await outbox.settle(claim, [retry])

    outcome = (await outbox.reports(["sale:2"]))["sale:2"].outcomes["alpha"]
    assert outcome.status is Status.DEAD
    assert "not a record" in outcome.error
    assert (await outbox.depths())["alpha"] == Depth(waiting=1, retrying=1, dead=1)
    assert order_ids(await outbox.claim("alpha", 9, LEASE)) == ["1"]
    await outbox.aclose()


@pytest.mark.asyncio
async def test_a_claim_without_a_readable_record_continues_with_the_next(outbox, path):
    await outbox.append(sales(1, 2, 3))
    outbox = await corrupt(outbox, path, 1, 2)

    assert order_ids(await outbox.claim("alpha", 1, LEASE)) == ["3"]
    assert (await outbox.depths())["alpha"] == Depth(waiting=1, in_flight=1, dead=2)
    await outbox.aclose()


@pytest.mark.asyncio
async def test_a_claim_is_empty_if_no_record_at_all_is_readable(outbox, path):
    await outbox.append(sales(1))
    outbox = await corrupt(outbox, path, 1)

    assert (await outbox.claim("alpha", 1, LEASE)).lease_id == 0
    assert (await outbox.depths())["beta"].waiting == 1
    await outbox.aclose()


@pytest.mark.asyncio
async def test_an_unreadable_record_survives_releases_and_lost_leases(outbox, path, clock):
    await outbox.append(sales(1, 2))
    outbox = await corrupt(outbox, path, 2)

    claim = await outbox.claim("alpha", 9, LEASE)
    await outbox.release(claim, due=clock.now, counts_as_attempt=True)
    lost = await outbox.claim("alpha", 9, LEASE)
    clock.advance(LEASE)
    again = await outbox.claim("alpha", 9, LEASE)
    assert order_ids(again) == ["1"]
    assert not await outbox.settle(lost)
    assert await outbox.settle(again)

    assert (await outbox.depths())["alpha"] == Depth(dead=1)
    await outbox.aclose()


@pytest.mark.asyncio
async def test_a_failed_settlement_can_be_repeated_with_the_unreadable_record(
    outbox, path, monkeypatch
):
    await outbox.append(sales(1, 2))
    outbox = await corrupt(outbox, path, 2)
    claim = await outbox.claim("alpha", 9, LEASE)

    with monkeypatch.context() as patch:
        patch.setattr("anytrack_async.outbox.sqlite.leases.settle", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await outbox.settle(claim)
    assert await outbox.settle(claim)

    assert (await outbox.depths())["alpha"].dead == 1
    await outbox.aclose()


@pytest.mark.asyncio
async def test_unreadable_dead_letters_are_logged_and_do_not_shorten_the_page(outbox, path, caplog):
    await outbox.append(sales(1, 2, 3, 4))
    claim = await outbox.claim("alpha", 9, LEASE)
    await outbox.settle(
        claim, [FailedEntry(seq=seq, attempts=1, error="no") for seq in claim.entries.seqs]
    )
    outbox = await corrupt(outbox, path, 1, 2, 4)

    with caplog.at_level(logging.WARNING, logger="anytrack_async"):
        letters = await outbox.dead_letters("alpha", limit=2)

    assert [letter.conversion.order_id for letter in letters] == ["3"]
    assert [record.message.split()[2] for record in caplog.records] == [
        "sale:1",
        "sale:2",
        "sale:4",
    ]
    await outbox.aclose()


@pytest.mark.asyncio
async def test_a_repaired_record_can_be_replayed(outbox, path):
    await outbox.append(sales(1))
    good = await outbox._run(lambda db: db.sql.execute("SELECT payload FROM log").fetchone())
    outbox = await corrupt(outbox, path, 1)
    await outbox.claim("alpha", 1, LEASE)
    assert await outbox.replay("alpha") == 1
    await outbox.claim("alpha", 1, LEASE)
    assert (await outbox.depths())["alpha"] == Depth(dead=1)

    await outbox._run(lambda db: db.sql.execute("UPDATE log SET payload = ?", good))
    await outbox.replay("alpha")

    assert order_ids(await outbox.claim("alpha", 1, LEASE)) == ["1"]
    await outbox.aclose()
