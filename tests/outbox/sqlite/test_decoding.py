"""What an outbox file was read or written last is remembered, and no more than that."""

from collections import OrderedDict

import pytest

from anytrack_async.outbox.sqlite.decoding import Reader
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale, sales


class Busy(OrderedDict):
    """Lets another thread in, once, at the worst moment: when it is counted."""

    def __init__(self, meanwhile):
        super().__init__()
        self._meanwhile = [meanwhile]

    def __len__(self):
        count = super().__len__()
        if count and self._meanwhile:
            self._meanwhile.pop()()
        return count


def test_two_threads_that_remember_at_once_drop_no_more_than_there_is():
    reader = Reader(1)
    reader._recent = Busy(lambda: reader.remember(4, sales(4)))
    reader.remember(1, sales(1, 2, 3))

    assert len(reader._recent) <= 1


def test_the_newest_are_remembered():
    reader = Reader(3)
    reader.remember(1, sales(1, 2))
    reader.remember(3, sales(3, 4, 5))

    assert list(reader._recent.items()) == [(n, sale(n)) for n in (3, 4, 5)]


@pytest.mark.asyncio
async def test_another_file_in_its_place_is_read_anew(outbox, path, clock):
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
