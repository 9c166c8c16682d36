"""Dead letters in a file: other processes, damaged records and long searches."""

import pytest

from anytrack_async.outbox.dead_letters import DeadLetterFilter
from anytrack_async.outbox.sqlite import dead_letter_pages, dead_letters
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale, sales
from anytrack_async.testing.outbox_rules.base import dead_letter, deliver, failures

pytestmark = pytest.mark.asyncio


async def test_another_process_sends_the_corrected_conversion_though_it_remembers_the_first(
    outbox, path, clock
):
    await outbox.append(sales(1, 2))
    await dead_letter(outbox, "alpha", 1)
    other = SQLiteOutbox(path, clock=clock)
    await other.open([])
    corrected = sale(1, revenue=7)
    assert await other.correct(corrected) == ["alpha"]
    await other.aclose()

    claim = await outbox.claim("alpha", 9, LEASE)

    assert [entry.conversion for entry in claim.entries] == [corrected]


async def test_what_is_in_flight_elsewhere_is_settled_as_it_was_claimed(outbox):
    await outbox.append(sales(1))
    in_flight = await outbox.claim("beta", 1, LEASE)
    await dead_letter(outbox, "alpha", 1)

    assert await outbox.correct(sale(1, revenue=7)) == ["alpha"]

    assert [entry.conversion for entry in in_flight.entries] == sales(1)
    assert await outbox.settle(in_flight, failures(in_flight, 1, due=0.0))
    (entry,) = (await outbox.claim("beta", 1, LEASE)).entries
    assert entry.conversion.revenue == 7
    assert (await outbox.verify()).is_intact


async def test_every_step_is_short(outbox, monkeypatch):
    monkeypatch.setattr(dead_letter_pages, "DEAD_LETTERS_PER_STEP", 10)
    searched = []
    read_page = dead_letters.read_page

    def counted(*args, **options):
        page = read_page(*args, **options)
        searched.append(page)
        return page

    monkeypatch.setattr(dead_letters, "read_page", counted)
    await outbox.append(sales(*range(95)))
    await dead_letter(outbox, "alpha", *range(95))
    unheard_of = DeadLetterFilter(text="unheard of")

    assert not await outbox.dead_letters(where=unheard_of, limit=5)
    assert len(searched) == 10
    searched.clear()
    assert not await outbox.dead_letters(where=DeadLetterFilter(code="E2"), limit=5)
    assert len(searched) == 1  # codes have an index
    assert await outbox.discard("alpha", where=unheard_of) == 0
    assert await outbox.discard("alpha", where=DeadLetterFilter(code="E1")) == 95
    assert (await outbox.verify()).is_intact


async def test_the_file_accounts_for_discarded_dead_letters(outbox):
    await outbox.append(sales(*range(5)))
    await dead_letter(outbox, "alpha", 0, 1, 2)
    await outbox.discard("alpha", ["sale:1", "sale:2"])

    verification = await outbox.verify()

    assert verification.is_intact
    account = verification.accounts["alpha"]
    assert (account.accepted, account.delivered, account.dead, account.discarded) == (5, 2, 1, 2)


async def test_discarded_dead_letters_are_forgotten_with_their_ids(outbox, clock):
    await outbox.append(sales(1, 2))
    await dead_letter(outbox, "alpha", 1)
    await deliver(outbox, "beta")
    assert await outbox.discard("alpha") == 1
    await outbox.prune(remember=10)
    clock.advance(10)
    await outbox.prune(remember=10)

    count = "SELECT count(*) FROM discarded"
    assert await outbox._run(lambda db: db.sql.execute(count).fetchone()) == (0,)


async def test_a_record_that_cannot_be_read_can_be_discarded_or_corrected(outbox):
    await outbox.append(sales(1, 2))
    await dead_letter(outbox, "alpha", 1, 2)
    damage = "UPDATE log SET payload = x'00', digest = x''"
    await outbox._run(lambda db: db.sql.execute(damage) and None)

    assert not await outbox.dead_letters()
    assert await outbox.discard("alpha", ["sale:1"]) == 1
    assert await outbox.correct(sale(2, revenue=7)) == ["alpha"]

    claim = await outbox.claim("alpha", 9, LEASE)
    assert [entry.conversion.revenue for entry in claim.entries] == [7]
