"""A record that cannot be read holds nobody up, and is not lost."""

import logging

import pytest

from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Depth, FailedEntry
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sales

pytestmark = pytest.mark.asyncio


async def spoil(outbox, path, *numbers):
    """Make the records of some orders unreadable, and return another outbox on the file."""
    ids = [f"sale:{number}" for number in numbers]
    await outbox._run(
        lambda db: db.sql.executemany(
            "UPDATE log SET payload = x'00ff' WHERE event_id = ?", [(one,) for one in ids]
        )
    )
    await outbox.aclose()
    other = SQLiteOutbox(path, clock=outbox._clock)
    await other.open(["alpha", "beta"])
    return other


@pytest.fixture
def ids():
    return lambda claim: [entry.conversion.order_id for entry in claim.entries]


async def test_others_of_its_claim_go_on_and_it_dies_with_them(outbox, path, ids):
    await outbox.append(sales(1, 2, 3))
    outbox = await spoil(outbox, path, 2)

    claim = await outbox.claim("alpha", 9, LEASE)
    assert ids(claim) == ["1", "3"]
    retry = FailedEntry(seq=claim.entries[0].seq, attempts=1, error="later", due=0.0)
    assert await outbox.settle(claim, [retry])

    outcome = (await outbox.reports(["sale:2"]))["sale:2"].outcomes["alpha"]
    assert outcome.status is Status.DEAD
    assert "not a record" in outcome.error
    assert (await outbox.depths())["alpha"] == Depth(waiting=1, retrying=1, dead=1)
    assert ids(await outbox.claim("alpha", 9, LEASE)) == ["1"]
    await outbox.aclose()


async def test_a_claim_of_nothing_readable_goes_on_to_the_next(outbox, path, ids):
    await outbox.append(sales(1, 2, 3))
    outbox = await spoil(outbox, path, 1, 2)

    assert ids(await outbox.claim("alpha", 1, LEASE)) == ["3"]
    assert (await outbox.depths())["alpha"] == Depth(waiting=1, in_flight=1, dead=2)
    await outbox.aclose()


async def test_nothing_readable_at_all_is_an_empty_claim(outbox, path):
    await outbox.append(sales(1))
    outbox = await spoil(outbox, path, 1)

    assert (await outbox.claim("alpha", 1, LEASE)).lease_id == 0
    assert (await outbox.depths())["beta"].waiting == 1
    await outbox.aclose()


async def test_releasing_and_losing_a_claim_is_as_ever(outbox, path, ids, clock):
    await outbox.append(sales(1, 2))
    outbox = await spoil(outbox, path, 2)

    claim = await outbox.claim("alpha", 9, LEASE)
    await outbox.release(claim, due=clock.now, counts_as_attempt=True)
    lost = await outbox.claim("alpha", 9, LEASE)
    clock.advance(LEASE)
    again = await outbox.claim("alpha", 9, LEASE)
    assert ids(again) == ["1"]
    assert not await outbox.settle(lost)
    assert await outbox.settle(again)

    assert (await outbox.depths())["alpha"] == Depth(dead=1)
    assert outbox._unreadable == {}
    await outbox.aclose()


async def test_a_settlement_that_fails_does_not_forget_it(outbox, path, monkeypatch):
    await outbox.append(sales(1, 2))
    outbox = await spoil(outbox, path, 2)
    claim = await outbox.claim("alpha", 9, LEASE)

    with monkeypatch.context() as patch:
        patch.setattr("anytrack_async.outbox.sqlite.leases.settle", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await outbox.settle(claim)
    assert await outbox.settle(claim)

    assert (await outbox.depths())["alpha"].dead == 1
    await outbox.aclose()


async def test_dead_letters_name_it_in_the_log_and_show_the_others(outbox, path, caplog):
    await outbox.append(sales(1, 2, 3, 4))
    claim = await outbox.claim("alpha", 9, LEASE)
    await outbox.settle(
        claim, [FailedEntry(seq=e.seq, attempts=1, error="no") for e in claim.entries]
    )
    outbox = await spoil(outbox, path, 1, 2, 4)

    with caplog.at_level(logging.WARNING, logger="anytrack_async"):
        letters = await outbox.dead_letters("alpha", limit=2)

    assert [letter.conversion.order_id for letter in letters] == ["3"]
    assert [record.message.split()[2] for record in caplog.records] == [
        "sale:1",
        "sale:2",
        "sale:4",
    ]
    await outbox.aclose()


async def test_it_can_be_replayed_once_it_can_be_read(outbox, path, ids):
    await outbox.append(sales(1))
    good = await outbox._run(lambda db: db.sql.execute("SELECT payload FROM log").fetchone())
    outbox = await spoil(outbox, path, 1)
    await outbox.claim("alpha", 1, LEASE)
    assert await outbox.replay("alpha") == 1
    await outbox.claim("alpha", 1, LEASE)
    assert (await outbox.depths())["alpha"] == Depth(dead=1)

    await outbox._run(lambda db: db.sql.execute("UPDATE log SET payload = ?", good))
    await outbox.replay("alpha")

    assert ids(await outbox.claim("alpha", 1, LEASE)) == ["1"]
    await outbox.aclose()
