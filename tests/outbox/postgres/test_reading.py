"""The cache of conversions that all lanes of a process share, and the records that it decodes."""

import pytest

from anytrack_async.codec.storage import digest_of, encode
from anytrack_async.errors import DecodeError
from anytrack_async.outbox.postgres.encryption import RowCipher
from anytrack_async.outbox.postgres.reading import CACHED_BYTES, ConversionCache
from anytrack_async.testing.outbox_rules.base import sale


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
