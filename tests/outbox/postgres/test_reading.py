"""Records of a claim, and the cache of conversions that all lanes of a process share."""

import asyncio

import attrs
import pytest
from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import digest_of, encode
from anytrack_async.errors import DamagedOutboxError, DecodeError, OutboxError
from anytrack_async.models.customer import Customer
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.encryption import RowCipher
from anytrack_async.outbox.postgres.reading import CACHED_BYTES, ConversionCache, RecordReader
from anytrack_async.testing.outbox_rules.base import LEASE, sale


@pytest.fixture
def cache():
    """A cache for about four conversions."""
    return ConversionCache(4, RowCipher(None, "anytrack"))


def columns(conversions):
    payloads, digests = zip(*map(encode, conversions), strict=True)
    return list(payloads), list(digests)


def test_a_conversion_is_decoded_once_for_all_lanes(cache):
    sales = [sale(number) for number in range(3)]
    payloads, digests = columns(sales)

    decoded = cache.decode_many(payloads, digests)

    assert decoded == sales
    assert all(map(lambda one, other: one is other, cache.find(digests), decoded))
    assert cache.decode(payloads[0], digests[0]) is decoded[0]


def test_the_oldest_are_dropped(cache):
    sales = [sale(number) for number in range(9)]
    payloads, digests = columns(sales)
    for payload, digest in zip(payloads, digests, strict=True):
        cache.decode(payload, digest)

    kept = [conversion.order_id for conversion in cache.find(digests) if conversion]

    assert kept == [conversion.order_id for conversion in sales[9 - len(kept) :]]
    assert 2 <= len(kept) <= 4
    cache.clear()
    assert not any(cache.find(digests))


def test_a_record_that_cannot_be_read_leaves_its_neighbours(cache):
    payloads, digests = columns([sale(1), sale(2), sale(3)])
    payloads[1] = b"{}"

    first, problem, last = cache.decode_many(payloads, digests)

    assert (first, last) == (sale(1), sale(3))
    assert isinstance(problem, DecodeError)
    assert cache.find(digests) == [first, None, last]


def test_a_large_conversion_is_not_kept(cache):
    large = sale(1, custom_data={"text": "x" * CACHED_BYTES})
    payload, digest = encode(large)

    assert cache.decode_many([payload], [digest]) == [large]
    assert cache.find([digest]) == [None]


def test_a_record_is_not_found_by_the_digest_of_another(cache):
    payload, digest = encode(sale(1))
    cache.decode(payload, digest)

    corrected, _ = encode(sale(2))

    assert cache.find([digest_of(corrected)]) == [None]


# Reading the records of claims


class Statements:
    """A database with three records; notes which statements read them."""

    has_own_sessions = True

    def __init__(self, order=(0, 1, 2)):
        self.order = order
        self.sent = []
        self.error = None
        self.payloads, self.digests = columns([sale(number) for number in (1, 2, 3)])

    async def fetch(self, statement, *ranges):
        self.sent.append("records" if statement in queries.RECORDS else "digests")
        await checkpoint()
        if self.error is not None:
            raise self.error
        stored = [*zip([1, 2, 3], [0.5, 0.6, 0.7], self.digests, self.payloads, strict=True)]
        rows = [stored[index] for index in self.order]
        if self.sent[-1] == "records":
            return rows
        return [[[row[column] for row in rows] or None for column in range(3)]]


async def know_keys(_):
    pass


@pytest.fixture
def database():
    return Statements()


@pytest.fixture
def make_reader(database):
    def make(size=100):
        return RecordReader(database, ConversionCache(size, RowCipher(None, "x")), know_keys)

    return make


def read(reader, name):
    return reader.read(name, [1], [3], 0)


@pytest.mark.asyncio
async def test_one_lane_reads_the_records_for_all_that_claim_the_same_range(database, make_reader):
    reader = make_reader()

    results = await asyncio.gather(*(read(reader, name) for name in ("meta", "hubspot", "crm")))

    assert sorted(database.sent) == ["digests", "digests", "records"]
    for seqs, times, decoded in results:
        assert ([*seqs], [*times]) == ([1, 2, 3], [0.5, 0.6, 0.7])
        assert decoded == [sale(1), sale(2), sale(3)]


@pytest.mark.asyncio
async def test_a_lane_that_was_left_behind_reads_the_records_itself(database, make_reader):
    reader = make_reader(size=2)
    await read(reader, "meta")
    database.payloads, database.digests = columns([sale(number) for number in (4, 5, 6)])

    _, _, decoded = await read(reader, "hubspot")

    assert decoded == [sale(4), sale(5), sale(6)]
    assert database.sent[-1] == "records"


@pytest.mark.asyncio
async def test_a_lane_does_not_wait_for_one_whose_reading_failed(database, make_reader):
    reader = make_reader()
    database.error = OutboxError("the database failed")

    results = await asyncio.gather(
        read(reader, "meta"), read(reader, "hubspot"), return_exceptions=True
    )

    assert [type(result) for result in results] == [OutboxError] * 2
    assert database.sent == ["records", "records"]


@pytest.mark.asyncio
async def test_records_come_in_the_order_of_their_positions(database, make_reader):
    database.order = (2, 0, 1)

    reader = make_reader()
    for name in ("meta", "hubspot"):
        seqs, _, decoded = await read(reader, name)

        assert ([*seqs], decoded) == ([1, 2, 3], [sale(1), sale(2), sale(3)])
    assert database.sent == ["records", "digests"]


@pytest.mark.asyncio
async def test_missing_records_are_damage(database, make_reader):
    database.order = ()

    with pytest.raises(DamagedOutboxError, match="'meta' are missing from its log"):
        await read(make_reader(), "meta")


# Erasing what a lane has read


@pytest.mark.asyncio
@pytest.mark.parametrize("by_another_process", [False, True])
async def test_no_lane_delivers_an_erased_customer_that_another_lane_has_read(
    make_outbox, by_another_process
):
    outbox, other = make_outbox(), make_outbox()
    for opened in (outbox, other):
        await opened.open(["meta", "hubspot", "crm"])
    customers = [Customer(email=f"buyer{number}@example.com") for number in range(8)]
    await outbox.append([sale(n, customer=customer) for n, customer in enumerate(customers)])
    for name in ("meta", "hubspot", "crm"):  # the later lanes find the first half in the cache
        await outbox.settle(await outbox.claim(name, 4, LEASE), [])
    read = (await outbox.claim("meta", 4, LEASE)).entries.conversions

    def erase_buyer_6(conversion):
        is_theirs = conversion.customer == customers[6]
        return attrs.evolve(conversion, customer=None) if is_theirs else None

    erased = await (other if by_another_process else outbox).erase(erase_buyer_6)

    assert [conversion.customer for conversion in read] == customers[4:]
    assert len(erased.conversions) == 1
    for name in ("hubspot", "crm"):
        claim = await outbox.claim(name, 4, LEASE)
        delivered = [conversion.customer for conversion in claim.entries.conversions]
        assert delivered == [*customers[4:6], None, customers[7]]
    await outbox.aclose()
    await other.aclose()
