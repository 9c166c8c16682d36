"""Rules about large conversions: the size of one, and of a claim."""

# ruff: noqa: D102, S101

from __future__ import annotations

import pytest

from anytrack_async.codec.storage import MAX_CONVERSION_BYTES, encode
from anytrack_async.errors import UnsendableError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Claim, Outbox
from anytrack_async.outbox.checks import MAX_CLAIM_BYTES
from anytrack_async.testing.outbox_rules.base import (
    LEASE,
    Clock,
    Rules,
    attempts,
    deliver,
    failures,
    orders,
    sale,
    sales,
)

_LARGE = 900_000
_PER_CLAIM = MAX_CLAIM_BYTES // _LARGE  # 4


def large(order: int, size: int = _LARGE) -> Conversion:
    """Return the sale of *order* with *size* bytes of custom data."""
    return sale(order, custom_data={"note": "x" * size})


def bytes_of(claim: Claim) -> int:
    """Return the bytes of the records in *claim*."""
    return sum(len(encode(conversion).payload) for conversion in claim.entries.conversions)


class SizeRules(Rules):
    """Rules about large conversions."""

    # One conversion

    async def test_the_largest_conversion_is_accepted(self, outbox: Outbox) -> None:
        spare = len(encode(large(1, 0)).payload)
        conversion = large(1, MAX_CONVERSION_BYTES - spare)
        assert len(encode(conversion).payload) == MAX_CONVERSION_BYTES

        await outbox.append([conversion])

        assert list((await outbox.claim("alpha", 9, LEASE)).entries.conversions) == [conversion]

    async def test_a_larger_one_is_refused_with_the_whole_call(self, outbox: Outbox) -> None:
        await outbox.append([sale(1)])
        for count in (0, 100):  # engines treat long calls differently
            with pytest.raises(UnsendableError) as caught:
                await outbox.append([*sales(*range(10, 10 + count)), large(2, 1_100_000)])

            assert caught.value.name == "custom_data.note"
            assert "'sale:2'" in str(caught.value)
            assert "1,100," in str(caught.value)
            assert "xxx" not in str(caught.value)
        await outbox.append([sale(3)])
        assert await deliver(outbox, "alpha") == [1, 3]

    @pytest.mark.parametrize(
        "data",
        [
            {"note": "x" * 300_000_000},
            {"rows": [{"note": "\x01" * 300_000}]},
            {f"key{number:050}": number for number in range(20_000)},
            {"rows": [["x" * 50]] * 20_000},
        ],
        ids=["huge", "escaped", "keys", "rows"],
    )
    async def test_every_kind_of_large_data_is_refused(
        self, outbox: Outbox, data: dict[str, object]
    ) -> None:
        with pytest.raises(UnsendableError, match=r"custom_data\.\S+ is too large"):
            await outbox.append([sale(1, custom_data=data)])

    # Claims

    async def test_a_claim_of_large_conversions_is_short(self, outbox: Outbox) -> None:
        await outbox.append([large(order) for order in range(10)])
        claimed: list[int] = []
        while (claim := await outbox.claim("alpha", 100, LEASE)).entries:
            assert bytes_of(claim) <= MAX_CLAIM_BYTES
            assert claim.large_bytes >= bytes_of(claim)
            claimed += orders(claim)
            assert await outbox.settle(claim)

        assert claimed == list(range(10))
        assert (await outbox.depths())["alpha"].waiting == 0

    async def test_small_ones_are_claimed_up_to_the_limit(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(90)))

        claim = await outbox.claim("alpha", 90, LEASE)

        assert (len(claim.entries), claim.large_bytes) == (90, 0)

    async def test_a_claim_has_one_conversion_at_least(self, outbox: Outbox) -> None:
        # In memory, each takes more than a claim may have, though not in its record.
        rows: list[list[int]] = [[]] * 40_000
        await outbox.append([sale(order, custom_data={"rows": rows}) for order in (1, 2)])

        assert [orders(await outbox.claim("alpha", 9, LEASE)) for _ in range(3)] == [[1], [2], []]

    async def test_large_ones_among_small_ones_keep_the_order(self, outbox: Outbox) -> None:
        await outbox.append([large(order) if order % 3 else sale(order) for order in range(20)])

        assert await deliver(outbox, "alpha") == list(range(20))

    async def test_large_ones_for_another_destination_do_not_count(self, outbox: Outbox) -> None:
        await outbox.append([large(order) for order in range(9)], ["beta"])
        await outbox.append(sales(10, 11), ["alpha"])

        assert await deliver(outbox, "alpha") == [10, 11]
        assert await deliver(outbox, "beta") == list(range(9))

    @pytest.mark.parametrize("counts", [True, False])
    async def test_a_released_claim_is_claimed_in_short_parts(
        self, outbox: Outbox, clock: Clock, counts: bool
    ) -> None:
        await outbox.append([large(order) for order in range(6)])
        for _ in range(2):
            claim = await outbox.claim("alpha", 9, LEASE)
            assert len(claim.entries) == _PER_CLAIM
            assert await outbox.release(claim, due=clock.now, counts_as_attempt=counts)
        await outbox.append([sale(6)])

        first, second, third = [await outbox.claim("alpha", 9, LEASE) for _ in range(3)]

        assert [orders(claim) for claim in (first, second, third)] == [[0, 1, 2, 3], [4, 5, 6], []]
        assert attempts(first) == [2 * counts] * _PER_CLAIM

    async def test_retries_are_claimed_in_short_parts(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append([large(order) for order in range(6)])
        for _ in range(2):
            claim = await outbox.claim("alpha", 9, LEASE)
            await outbox.settle(claim, failures(claim, *range(6), due=clock.now + 9))
        await outbox.append([sale(6)])
        clock.advance(10)

        claims = [await outbox.claim("alpha", 9, LEASE) for _ in range(3)]

        assert [orders(claim) for claim in claims] == [[0, 1, 2, 3], [4, 5, 6], []]

    # Pages

    async def test_pages_of_large_dead_letters_lead_to_all(self, outbox: Outbox) -> None:
        await outbox.append([large(order) for order in range(12)])
        while (claim := await outbox.claim("alpha", 9, LEASE)).entries:
            assert await outbox.settle(claim, failures(claim, *range(12)))
        letters: list[str] = []
        after = 0
        while page := await outbox.dead_letters(after=after, limit=50):
            letters += [letter.conversion.order_id or "" for letter in page]
            after = page[-1].seq

        assert letters == [str(order) for order in range(12)]
