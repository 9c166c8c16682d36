"""The history in PostgreSQL: who writes counts and when, what is forgotten, what is checked."""

import asyncio

import asyncpg
import pytest

from anytrack_async.errors import OutboxError, OutcomeUnknownError
from anytrack_async.outbox.base import Claim, FailedEntry
from anytrack_async.outbox.history import NAMES_PER_DAY, OTHER, ReleaseReason
from anytrack_async.outbox.postgres import counts, queries
from anytrack_async.testing.outbox_contract import LEASE, sale, sales
from anytrack_async.testing.outbox_rules.base import deliver

pytestmark = pytest.mark.asyncio


@pytest.fixture
def rows(outbox, connect):
    async def read(table, columns="count(*)"):
        connection = await connect()
        return await connection.fetchval(f"SELECT {columns} FROM {outbox.schema}.{table}")

    return read


@pytest.fixture
def statements(outbox, note_statements):
    """The statements of the outbox, as they are run."""
    return note_statements(outbox)


async def test_counts_travel_with_the_statements_that_come_anyway(
    outbox, statements, rows, monkeypatch
):
    monkeypatch.setattr(counts, "monotonic", lambda: time[0])
    time = [100.0]
    await outbox.append(sales(0))
    statements.clear()
    written = [await rows("new_accepted", "sum(count)")]
    for number in (1, 2):
        await outbox.append(sales(number))
        written.append(await rows("new_accepted", "sum(count)"))
        time[0] += 1.1
    await deliver(outbox, "alpha")

    assert written == [1, 1, 3]
    assert statements[0] != statements[1] == queries.APPEND_AND_COUNT
    assert queries.AND_COUNT[queries.SETTLE] in statements
    assert not {queries.COUNT, queries.DEPTHS} & {*statements}
    assert await rows("new_outcomes", "sum(count)") == 3


async def test_counts_of_a_process_that_does_nothing_more_are_written_soon(
    outbox, rows, monkeypatch
):
    monkeypatch.setattr(counts, "WRITE_EVERY", 0.01)
    written, write = asyncio.Event(), outbox._counts._write

    async def write_and_tell():
        await write()
        written.set()

    monkeypatch.setattr(outbox._counts, "_write", write_and_tell)
    await outbox.append(sales(1))
    outbox._counts._next_write = float("inf")  # no other statement carries what follows
    await outbox.append(sales(2))
    async with asyncio.timeout(5):
        await written.wait()

    assert await rows("new_accepted", "sum(count)") == 2


async def test_what_did_not_happen_is_not_counted(outbox):
    await outbox.append(sales(1, 2))
    outbox._counts._next_write = 0.0
    await outbox.append(sales(1, 3))  # a repeat, in the statement that could have written
    outbox._counts._next_write = 0.0
    assert not await outbox.settle(Claim(destination="alpha", lease_id=7))
    claim = await outbox.claim("alpha", 2, LEASE)
    outbox._counts._next_write = 0.0
    assert await outbox.settle(claim)
    assert not await outbox.settle(claim)

    (accepted,) = await outbox.accepted_counts(since=0)
    (delivered,) = await outbox.outcome_counts(since=0)
    assert (accepted.count, delivered.count) == (3, 2)


@pytest.mark.parametrize("is_known", [True, False])
async def test_counts_outlive_a_statement_that_fails(outbox, monkeypatch, is_known):
    await outbox.append(sales(1))
    await outbox.append(sales(2))
    outbox._counts._next_write = 0.0
    error = asyncpg.InsufficientPrivilegeError("no") if is_known else ConnectionResetError()

    async def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(outbox._db, "fetch_raw", fail)
        with pytest.raises(OutboxError, match="postgresql://") as caught:
            await outbox.append(sales(3))

    (accepted,) = await outbox.accepted_counts(since=0)
    # If it is not known whether the statement was run, nothing is counted twice.
    assert accepted.count == (2 if is_known else 1)
    assert isinstance(caught.value, OutcomeUnknownError) is not is_known


async def test_a_joined_append_is_counted_with_its_transaction(outbox, connect):
    connection = await connect()
    for commits in (False, True):
        transaction = connection.transaction()
        await transaction.start()
        await outbox.append_within(connection, [sale(1, source="ads"), sale(2, revenue="2.50")])
        assert await outbox.accepted_counts(since=0) == []
        await (transaction.commit() if commits else transaction.rollback())
    async with connection.transaction():
        await outbox.append_within(connection, [sale(2, revenue="2.50"), sale(3)])

    counted = await outbox.accepted_counts(since=0)
    assert [(item.source, item.count, str(item.value)) for item in counted] == [
        ("", 2, "5.50"),
        ("ads", 1, "1"),
    ]


async def test_processes_share_the_names_of_a_day(make_outbox, outbox):
    other = make_outbox()
    await other.open(["alpha", "beta"])
    half = NAMES_PER_DAY // 2 + 5
    await outbox.append([sale(n, source=f"a{n}") for n in range(half)])
    await other.append([sale(n, source=f"b{n}") for n in range(half, 2 * half)])
    await other.aclose()
    await outbox.prune(remember=1e9)
    await outbox.append([sale(1_000, source="late"), sale(1_001, source="a3")])

    by_name = {item.source: item.count for item in await outbox.accepted_counts(since=0)}
    assert len(by_name) == NAMES_PER_DAY + 1
    assert (by_name[OTHER], by_name["a3"]) == (11, 2)


async def test_an_outcome_with_a_long_code_can_be_counted(outbox):
    await outbox.append([sale(1)])
    claim = await outbox.claim("alpha", 1, LEASE)
    failed = FailedEntry(seq=1, attempts=1, error="no\0", code="x" * 9_000)
    await outbox.settle(claim, [failed])

    (outcome,) = await outbox.outcome_counts(since=0)
    assert outcome.code == "x" * 100


async def test_nothing_of_the_history_outlives_the_ids(outbox, rows):
    await outbox.append(sales(1, 2, 3, 4))
    claim = await outbox.claim("alpha", 4, LEASE)
    await outbox.release_with_reason(
        claim, due=0.0, counts_as_attempt=True, reason=ReleaseReason(error="down")
    )
    claim = await outbox.claim("alpha", 4, LEASE)
    await outbox.settle(claim, [FailedEntry(seq=2, attempts=2, error="later", due=0.0)])
    await deliver(outbox, "beta")
    await outbox.prune(remember=0)  # all but the second one
    assert await rows("history_batches") == 2
    assert len(await outbox.attempts("sale:2")) == 2
    assert (await outbox.verify()).is_intact
    await deliver(outbox, "alpha")
    await outbox.append(sales(5))
    await outbox.prune(remember=0)
    assert (await outbox.verify()).is_intact

    assert [await rows(f"history_{table}") for table in ("batches", "attempts")] == [0, 0]
    assert [await rows(f"new_{table}") for table in ("accepted", "outcomes")] == [0, 0]
    assert len(await outbox.outcome_counts(since=0)) >= 2


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE history_attempts SET first = 90, last = 90",
        "UPDATE history_batches SET destination = 'nowhere'",
    ],
)
async def test_verifying_finds_rows_that_would_stay_for_ever(outbox, connect, damage):
    await outbox.append(sales(1, 2))
    claim = await outbox.claim("alpha", 2, LEASE)
    await outbox.settle(claim, [FailedEntry(seq=2, attempts=1, error="no")])
    connection = await connect()
    await connection.execute(f"SET search_path = {outbox.schema}; {damage}")

    assert (await outbox.verify()).problems == ["1 rows of the history would never be forgotten"]


async def test_a_conversion_has_no_attempts_at_a_destination_that_it_is_not_for(outbox):
    await outbox.append(sales(1))
    await outbox.append(sales(2), ["beta"])
    await outbox.append(sales(3))
    claim = await outbox.claim("alpha", 5, LEASE)
    await outbox.release_with_reason(
        claim, due=0.0, counts_as_attempt=True, reason=ReleaseReason(error="down")
    )

    kept = [len(await outbox.attempts(f"sale:{number}")) for number in (1, 2, 3)]
    assert kept == [1, 0, 1]


async def test_a_search_reads_a_limited_part_of_the_log(outbox, monkeypatch):
    monkeypatch.setattr("anytrack_async.outbox.postgres.history.SEARCHED_PER_STEP", 3)
    conversions = [sale(n, click_id=f"click-{n}") for n in range(1, 9)]
    await outbox.append(conversions[:2])
    await outbox.append(conversions[2:])
    (oldest,) = await outbox.find(click_id="click-1")
    monkeypatch.setattr("anytrack_async.outbox.postgres.history.MAX_SCANNED", 6)

    assert oldest.conversion == conversions[0]
    assert await outbox.find(click_id="click-1") == []
    assert [found.seq for found in await outbox.find(click_id="click-7")] == [7]
    pages = [await outbox.recent(before=before, limit=3) for before in (None, 6, 3)]
    assert [[item.seq for item in page] for page in pages] == [[8, 7, 6], [5, 4, 3], [2, 1]]
