"""The rows that appending writes, and the results of a call."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from anytrack_async.codec.storage import decode
from anytrack_async.errors import UnsendableError
from anytrack_async.models.contradiction import summary
from anytrack_async.outbox import checks
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.sqlite import append
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.outbox.sqlite.queries import log as queries
from anytrack_async.testing.outbox_contract import sale, sales
from tests.examples import examples
from tests.models.strategies import conversions

pytestmark = pytest.mark.asyncio


@given(conversions)
@hypothesis_settings(max_examples=examples(30), deadline=None)
async def test_a_row_has_the_summary_of_its_conversion(conversion):
    group = append.Group()
    group.encode([conversion], None, 0.0)

    ids, log_row = group.rows
    row = dict(zip((*queries.IDS_COLUMNS, *queries.LOG_COLUMNS), (*ids, *log_row), strict=True))
    assert row["summary"] == summary(conversion)
    assert decode(row["payload"], row["digest"]) == conversion


async def test_repeats_and_errors_are_reported_beyond_the_capacity(path, clock, monkeypatch):
    wide = SQLiteOutbox(path, clock=clock)
    await wide.open(["alpha"])
    await wide.append(sales(1, 2, 3))
    await wide.aclose()
    outbox = SQLiteOutbox(path, capacity=2, clock=clock)
    await outbox.open(["alpha"])

    assert await outbox.append(sales(1)) == [Appended.REPEAT]
    monkeypatch.delattr(append, "record_of")
    with pytest.raises(NameError):
        await outbox.append(sales(4))
    await outbox.aclose()


async def test_more_than_one_step_may_hold_is_refused_whole(outbox, monkeypatch):
    monkeypatch.setattr(checks, "MAX_APPEND_BYTES", 2**20)
    batch = [sale(number, custom_data={"pad": "x" * 10_000}) for number in range(150)]

    with pytest.raises(UnsendableError, match=r"the first 1\d\d of 150 .*1 MiB.*track_many"):
        await outbox.append(batch)
    assert await outbox.reports([sale.event_id for sale in batch]) == {}
    assert await outbox.append(batch[:90]) == [Appended.NEW] * 90
