"""The room of a memory outbox in bytes: for each destination, what waits for it, and no more."""

import pytest

from anytrack_async import InvalidArgumentError, MemoryOutbox, QueueFullError, Status
from anytrack_async.outbox.base import FailedEntry
from anytrack_async.outbox.checks import USUAL_BYTES
from anytrack_async.testing.outbox_contract import Clock, sale, sales
from anytrack_async.testing.outbox_rules.sizes import large

pytestmark = pytest.mark.asyncio

MIB = 2**20
LEASE = 60.0


@pytest.fixture
def clock():
    return Clock()


async def opened(clock, *names, **options):
    outbox = MemoryOutbox(clock=clock, **options)
    await outbox.open(names or ("alpha", "beta"))
    return outbox


async def waiting_bytes(outbox):
    return {name: depth.waiting_bytes for name, depth in (await outbox.depths()).items()}


async def fill(outbox, to=None, first=0):
    """Append large conversions until there is no room; return how many."""
    for order in range(first, 1_000):
        try:
            await outbox.append([large(order)], to)
        except QueueFullError as exc:
            return order - first, exc
    raise AssertionError("it is never full")


async def settle(outbox, name, *, failed=None, due=None):
    """Claim once, and settle the claim, as failed or not; return how many there were."""
    claim = await outbox.claim(name, 100, LEASE)
    seqs = claim.entries.seqs if failed else ()
    failures = [FailedEntry(seq=seq, attempts=1, error="no", due=due) for seq in seqs]
    assert await outbox.settle(claim, failures)
    return len(claim.entries)


async def test_it_is_full_of_bytes_long_before_its_capacity(clock):
    outbox = await opened(clock)

    count, error = await fill(outbox)

    assert 70 <= count <= 64 * MIB // 900_000
    assert error.waiting == {"alpha": count, "beta": count}
    assert error.waiting_bytes == await waiting_bytes(outbox)
    assert not error.too_large
    assert str(error).startswith(
        f"the outbox is full: {count} conversions with {error.waiting_bytes['alpha']:,} of at most "
        "67,108,864 bytes are waiting for 'alpha'"
    )
    assert "raise the capacity_bytes" in str(error)


async def test_small_conversions_count_as_two_kib_each(clock):
    outbox = await opened(clock, capacity_bytes=10 * USUAL_BYTES)

    await outbox.append(sales(*range(10)))

    with pytest.raises(QueueFullError, match="20,480 of at most 20,480 bytes"):
        await outbox.append([sale(10)])
    assert await waiting_bytes(outbox) == {"alpha": 20_480, "beta": 20_480}


async def test_usual_conversions_reach_the_capacity_first(clock):
    for capacity in (3, 10_000, 12_000):
        outbox = await opened(clock, capacity=capacity)
        assert outbox.capacity_bytes >= 64 * MIB
        await outbox.append(sales(*range(capacity)))

        with pytest.raises(QueueFullError, match=f"of at most {capacity} conversions") as caught:
            await outbox.append([sale(capacity)])
        assert caught.value.waiting_bytes == {}


async def test_each_destination_has_bytes_of_its_own(clock):
    outbox = await opened(clock, capacity_bytes=4 * MIB)
    count, error = await fill(outbox, ["alpha"])

    assert (count, list(error.waiting)) == (4, ["alpha"])
    await outbox.append([large(100)], ["beta"])
    with pytest.raises(QueueFullError) as caught:
        await outbox.append([large(101)])
    assert list(caught.value.waiting) == ["alpha"]


@pytest.mark.parametrize("failed", [False, True], ids=["delivered", "dead"])
async def test_what_does_not_wait_any_more_makes_room(clock, failed):
    outbox = await opened(clock, "alpha", capacity_bytes=4 * MIB)
    await fill(outbox)

    assert await settle(outbox, "alpha", failed=failed) == 4

    assert await waiting_bytes(outbox) == {"alpha": 0}
    assert (await fill(outbox, first=10))[0] == 4


async def test_released_and_retried_ones_still_wait(clock):
    outbox = await opened(clock, "alpha", capacity_bytes=4 * MIB)
    await fill(outbox)
    before = await waiting_bytes(outbox)
    claim = await outbox.claim("alpha", 9, LEASE)
    await outbox.release(claim, due=clock.now, counts_as_attempt=True)
    assert await waiting_bytes(outbox) == before

    await settle(outbox, "alpha", failed=True, due=clock.now)

    assert await waiting_bytes(outbox) == before
    assert (await fill(outbox, first=10))[0] == 0


async def test_replayed_dead_letters_wait_again(clock):
    outbox = await opened(clock, "alpha", capacity_bytes=4 * MIB)
    await fill(outbox)
    before = await waiting_bytes(outbox)
    await settle(outbox, "alpha", failed=True)

    await outbox.replay("alpha")

    assert await waiting_bytes(outbox) == before


async def test_a_corrected_conversion_counts_with_its_new_size(clock):
    outbox = await opened(clock, "alpha", "beta")
    await outbox.append([large(1), sale(2)])
    await settle(outbox, "alpha", failed=True)

    await outbox.correct(sale(1))
    assert await waiting_bytes(outbox) == {"alpha": USUAL_BYTES, "beta": 2 * USUAL_BYTES}
    await settle(outbox, "alpha", failed=True)
    await outbox.correct(large(1))

    depths = await waiting_bytes(outbox)
    assert depths["alpha"] == depths["beta"] - USUAL_BYTES > 900_000


async def test_repeats_need_no_room(clock):
    outbox = await opened(clock, capacity_bytes=4 * MIB)
    count, _ = await fill(outbox)

    results = await outbox.append([large(order) for order in range(count)])

    assert results == ["repeat"] * count


async def test_a_call_that_never_fits_says_so(clock):
    outbox = await opened(clock, capacity_bytes=4 * MIB)

    with pytest.raises(QueueFullError, match="submit fewer at a time") as caught:
        await outbox.append([large(order) for order in range(5)])

    assert caught.value.too_large


async def test_a_destination_added_at_the_start_counts_what_is_stored(clock):
    outbox = await opened(clock, "alpha")
    await outbox.append([large(1), sale(2)])
    await outbox.append([large(3)])
    before = await waiting_bytes(outbox)

    await outbox.aclose()
    await outbox.open(["alpha", "gamma", "delta"], from_start=["gamma"])

    assert await waiting_bytes(outbox) == before | {"gamma": before["alpha"], "delta": 0}


async def test_without_destinations_all_bytes_count(clock):
    outbox = MemoryOutbox(clock=clock, capacity_bytes=4 * MIB)
    await outbox.open([])

    count, error = await fill(outbox)

    assert (count, error.waiting, error.waiting_bytes) == (4, {}, {})
    assert "bytes are waiting and no destination is registered" in str(error)


async def test_delivered_payloads_are_dropped_at_once(clock):
    outbox = await opened(clock, "alpha")
    for order in range(50):
        await outbox.append([large(order)])
        assert await settle(outbox, "alpha") == 1
        assert outbox._log.stored == 0
    assert outbox._log.extra_bytes == {}
    assert outbox._log.extra_bytes_in_log == 0


async def test_a_destination_that_accepts_nothing_keeps_no_payloads_of_the_others(clock):
    outbox = await opened(clock, capacity_bytes=4 * MIB)
    await outbox.append([large(0)])
    for order in range(1, 200):
        await outbox.append([large(order)], ["alpha"])
        await settle(outbox, "alpha")

    assert outbox._log.stored < 20
    depth = (await outbox.depths())["beta"]
    assert (depth.waiting, depth.retrying) == (1, 0)
    claim = await outbox.claim("beta", 9, LEASE)
    await outbox.release(claim, due=clock.now, counts_as_attempt=False)
    assert (await outbox.depths())["beta"].retrying == 0
    claim = await outbox.claim("beta", 9, LEASE)
    await outbox.release(claim, due=clock.now, counts_as_attempt=True)
    assert (await outbox.depths())["beta"].retrying == 1
    assert await settle(outbox, "beta") == 1


@pytest.mark.parametrize("capacity", ["5", 1.5, None, -1, 2**63])
async def test_a_capacity_is_a_whole_number(capacity):
    with pytest.raises(InvalidArgumentError, match="capacity must be a whole number"):
        MemoryOutbox(capacity)
    if capacity is not None:
        with pytest.raises(InvalidArgumentError, match="capacity_bytes must be a whole number"):
            MemoryOutbox(capacity_bytes=capacity)


# Dead letters


async def die(outbox, *conversions):
    """Let "alpha" reject *conversions*, one after the other."""
    for conversion in conversions:
        await outbox.append([conversion], ["alpha"])
        assert await settle(outbox, "alpha", failed=True) == 1


async def dead_ids(outbox):
    return [letter.conversion.event_id for letter in await outbox.dead_letters(limit=1_000)]


async def test_the_oldest_dead_letters_are_discarded_when_their_bytes_are_used_up(clock):
    outbox = await opened(clock, capacity_bytes=4 * MIB)

    await die(outbox, *[large(order) for order in range(4)])
    assert outbox.take_pushed_out() == {}
    await die(outbox, sale(4), large(5), large(6))

    assert await dead_ids(outbox) == ["sale:2", "sale:3", "sale:4", "sale:5", "sale:6"]
    assert outbox.take_pushed_out() == {"alpha": ["sale:0", "sale:1"]}
    assert outbox.take_pushed_out() == {}
    outcome = (await outbox.reports(["sale:0"]))["sale:0"].outcomes["alpha"]
    assert (outcome.status, outcome.error) == (Status.DISCARDED, "no")
    assert outbox._log.stored == 5
    assert (await fill(outbox, first=10))[0] == 4  # what waits has bytes of its own


async def test_dead_letters_of_the_usual_size_are_bounded_too(clock):
    outbox = await opened(clock, capacity_bytes=10 * USUAL_BYTES)

    await die(outbox, *sales(*range(100)))

    assert await dead_ids(outbox) == [f"sale:{order}" for order in range(90, 100)]
    assert len(outbox.take_pushed_out()["alpha"]) == 90


async def test_dead_letters_that_were_replayed_or_discarded_take_no_room(clock):
    outbox = await opened(clock, "alpha", capacity_bytes=4 * MIB)
    await die(outbox, *[large(order) for order in range(4)])

    await outbox.replay("alpha", ["sale:0", "sale:1"])
    await outbox.discard("alpha", ["sale:2"])
    await outbox.correct(sale(3))
    await settle(outbox, "alpha")
    await die(outbox, *[large(order) for order in range(10, 14)])

    assert await dead_ids(outbox) == [f"sale:{order}" for order in range(10, 14)]
    assert outbox.take_pushed_out() == {}
    await outbox.replay("alpha")
    assert outbox._destinations["alpha"].dead_bytes == 0


async def test_a_dead_letter_for_two_destinations_counts_for_each(clock):
    outbox = await opened(clock, capacity_bytes=4 * MIB)
    for order in range(6):
        await outbox.append([large(order)])
        await settle(outbox, "alpha", failed=True)
        await settle(outbox, "beta", failed=order < 2)

    letters = await outbox.dead_letters(limit=100)

    assert [(letter.destination, letter.conversion.order_id) for letter in letters] == [
        ("beta", "0"),
        ("beta", "1"),
        *(("alpha", str(order)) for order in range(2, 6)),
    ]
