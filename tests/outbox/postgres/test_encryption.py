"""An encrypted outbox in PostgreSQL: what the server has, missing keys, new keys, damage."""

import pytest
import pytest_asyncio

from anytrack_async.codec.encryption import KeyRing, new_key
from anytrack_async.errors import ConfigurationError, MissingKeyError
from anytrack_async.models.customer import Customer
from anytrack_async.outbox.base import FailedEntry
from anytrack_async.outbox.dead_letters import DeadLetterFilter
from anytrack_async.outbox.history import ReleaseReason
from anytrack_async.outbox.postgres import keys as keys_module
from anytrack_async.testing.outbox_rules.base import LEASE, deliver, sale

pytestmark = pytest.mark.asyncio

OLD, NEW = new_key(), new_key()
OLD_ID, NEW_ID = OLD[:8], NEW[:8]
EMAIL = "jane.doe@example.com"
CUSTOMER = Customer(email=EMAIL, first_name="Annabelle")
TABLES = ("log", "exception", "discarded", "history_attempts", "ids", "arrival", "new_accepted")


@pytest_asyncio.fixture
async def open_with(make_outbox):
    """Open an outbox with some keys, for "alpha" and "beta"."""
    outboxes = []

    async def open_with(*keys):
        outbox = make_outbox(keys=KeyRing(keys) if keys else None)
        await outbox.open(["alpha", "beta"])
        outboxes.append(outbox)
        return outbox

    yield open_with
    for outbox in outboxes:
        await outbox.aclose()


async def fill(outbox):
    """Append three sales of Jane: at alpha one was retried and discarded, one is dead."""
    await outbox.append([sale(number, customer=CUSTOMER) for number in (1, 2)])
    await outbox.append([sale(3, customer=CUSTOMER, custom_data={"notes": ["x" * 5_000]})])
    claim = await outbox.claim("alpha", 3, LEASE)
    reason = ReleaseReason(error=f"down for {EMAIL}")
    await outbox.release_with_reason(claim, due=0.0, counts_as_attempt=True, reason=reason)
    claim = await outbox.claim("alpha", 3, LEASE)
    failed = [FailedEntry(seq=seq, attempts=2, error=f"refused {EMAIL} {seq}") for seq in (1, 2)]
    await outbox.settle(claim, failed)
    await outbox.discard("alpha", ["sale:1"])


async def dump(outbox, connection):
    """Return everything that the server has, as text."""
    lines = []
    for table in TABLES:
        rows = await connection.fetch(f"SELECT * FROM {outbox.schema}.{table}")
        lines += [
            b"\n".join(v if isinstance(v, bytes) else str(v).encode() for v in row) for row in rows
        ]
    return b"\n".join(lines)


async def test_nothing_personal_reaches_the_server(open_with, connect):
    outbox = await open_with(OLD)
    await fill(outbox)
    connection = await connect()
    stored = await dump(outbox, connection)

    for text in (EMAIL, "jane", "Annabelle", "refused", "down for"):
        assert text.encode() not in stored
    assert b"sale:1" in stored
    (letter,) = await outbox.dead_letters("alpha", where=DeadLetterFilter(text="refused JANE"))
    assert (letter.error, letter.conversion.customer) == (f"refused {EMAIL} 2", CUSTOMER)
    report = (await outbox.reports(["sale:1"]))["sale:1"]
    assert report.outcomes["alpha"].error == f"refused {EMAIL} 1"
    attempts = [item.error for item in await outbox.attempts("sale:1")]
    assert attempts == [f"down for {EMAIL}", f"refused {EMAIL} 1"]
    assert await outbox.undelivered("beta") == ["sale:1", "sale:2", "sale:3"]
    (found,) = await outbox.find(order_id="3", limit=1)
    assert found.conversion.customer == CUSTOMER
    assert [item.conversion.customer for item in await outbox.recent()] == [CUSTOMER] * 3
    assert (await outbox.verify()).is_intact
    again = await open_with(OLD)  # without the conversions in memory
    assert await deliver(again, "beta") == [1, 2, 3]


async def test_a_joined_append_is_encrypted(open_with, connect):
    outbox = await open_with(OLD)
    connection = await connect()
    async with connection.transaction():
        await outbox.append_within(connection, [sale(1, customer=CUSTOMER)])
    sql, parameters = outbox.append_statement([sale(2, customer=CUSTOMER)], style="numeric_dollar")
    await connection.execute(sql, *parameters)

    assert EMAIL.encode() not in await dump(outbox, connection)
    assert await outbox.key_usage() == {OLD_ID: 2, "": 0}
    assert await deliver(outbox, "alpha") == [1, 2]


async def test_a_missing_key_is_named_and_nothing_is_given_up(open_with, make_outbox):
    outbox = await open_with(OLD)
    plain = await open_with()  # started before anything was encrypted
    await outbox.append([sale(1), sale(2)])
    for _ in range(3):
        with pytest.raises(MissingKeyError, match=f"the key {OLD_ID}.*ANYTRACK_OUTBOX_KEYS"):
            await plain.claim("alpha", 10, LEASE)
    for ring in (None, KeyRing(NEW)):
        with pytest.raises(MissingKeyError, match=OLD_ID):
            await make_outbox(keys=ring).open(["alpha", "beta"])

    claim = await outbox.claim("alpha", 10, LEASE)
    assert (claim.entries.attempts, claim.lost_leases) == ([0, 0], {})


async def test_rekeying_while_programs_run_lets_the_old_key_be_removed(open_with, connect):
    plain = await open_with()
    await plain.append([sale(9, customer=CUSTOMER)])
    await fill(await open_with(OLD))
    outbox = await open_with(NEW, OLD)
    before = await outbox.key_usage()
    count = await outbox.rekey()
    again = await outbox.rekey()

    # Four records; two reasons of failures, both again in the history with that of the batch.
    assert before == {NEW_ID: 0, OLD_ID: 8, "": 1}
    assert (count, again) == (9, 0)
    assert await outbox.key_usage() == {NEW_ID: 9, OLD_ID: 0, "": 0}
    connection = await connect()
    assert await connection.fetch(f"SELECT id FROM {outbox.schema}.encryption_key") == [(NEW_ID,)]
    only_new = await open_with(NEW)
    assert [item.error for item in await only_new.dead_letters("alpha")] == [f"refused {EMAIL} 1"]
    assert len(await only_new.attempts("sale:1")) == 2
    assert await deliver(only_new, "beta") == [9, 1, 2, 3]


async def test_a_program_that_still_encrypts_with_the_old_key_keeps_it_listed(
    open_with, connect, monkeypatch
):
    monkeypatch.setattr(keys_module, "_TIMES_ASKED", 3)
    old, new = await open_with(OLD), await open_with(NEW, OLD)
    connection = await connect()
    transaction = connection.transaction()
    await transaction.start()
    await old.append_within(connection, [sale(1)])
    await new.rekey()  # does not see it
    await transaction.commit()
    await new.append([sale(2)])
    await old.append([sale(3)])

    assert await deliver(new, "alpha") == [1, 2, 3]
    with pytest.raises(MissingKeyError, match=OLD_ID):
        await open_with(NEW)
    assert await new.rekey() == 2
    assert await deliver(await open_with(NEW), "beta") == [1, 2, 3]


async def test_what_changes_while_it_is_encrypted_anew_is_read_again(
    open_with, connect, monkeypatch
):
    old, new = await open_with(OLD), await open_with(NEW, OLD)
    await fill(old)
    connection, write = await connect(), new._write
    error = old._cipher.seal_error(2, "alpha", "another")
    await new.correct(sale(2, revenue=1))  # waits again, so that the reason is that of a retry
    changes = [f"UPDATE {new.schema}.exception SET error = '{error}' WHERE seq = 2"]

    async def changed_before(statement, rows):
        if rows and "exception" in statement and changes:
            await connection.execute(changes.pop())
        return await write(statement, rows)

    monkeypatch.setattr(new, "_write", changed_before)
    await new.rekey()

    assert await new.key_usage() == {NEW_ID: 8, OLD_ID: 0, "": 0}


async def test_a_record_in_the_place_of_another_is_told(open_with, connect):
    outbox = await open_with(OLD)
    await outbox.append([sale(1), sale(2)])
    await (await connect()).execute(
        f"UPDATE {outbox.schema}.log AS log SET (payload, digest) = (SELECT payload, digest"
        f" FROM {outbox.schema}.log AS other WHERE other.id <> log.id)"
    )
    reader = await open_with(OLD)

    assert [problem[-30:] for problem in (await reader.verify()).problems] == [
        "was put in the place of another"[-30:]
    ] * 2
    assert [item.conversion for item in await reader.recent()] == [None, None]


async def test_what_was_changed_becomes_a_dead_letter(open_with, connect):
    outbox = await open_with(OLD)
    await fill(outbox)
    connection = await connect()
    await connection.execute(
        f"SET search_path = {outbox.schema};"
        "UPDATE log SET payload = set_byte(payload, 59, get_byte(payload, 59) # 255) WHERE id IN"
        " (SELECT min(id) FROM log);"
        "UPDATE exception SET error = left(error, 30); UPDATE discarded SET error = chr(1) || '*'"
    )
    reader = await open_with(OLD)

    assert await deliver(reader, "beta") == [2, 3]
    (letter,) = await reader.dead_letters("alpha")
    assert "cannot be decrypted" in letter.error
    assert (
        "cannot be decrypted"
        in (await reader.reports(["sale:1"]))["sale:1"].outcomes["alpha"].error
    )
    assert len((await reader.verify()).problems) == 1
    assert await reader.rekey() == 0
    assert await reader.correct(sale(2, revenue=7)) == ["alpha"]
    assert (await reader.recent())[1].conversion.revenue == 7


async def test_erasing_works_on_encrypted_records(open_with, connect):
    outbox = await open_with(OLD)
    await fill(outbox)
    erasure = await outbox.erase(
        lambda conversion: sale(int(conversion.order_id)) if conversion.customer else None
    )

    assert len(erasure.conversions) == 3
    assert [item.error for item in await outbox.attempts("sale:1")] == ["", ""]
    assert await outbox.key_usage() == {OLD_ID: 3, "": 0}


async def test_there_must_be_a_key_to_encrypt_with(open_with):
    outbox = await open_with()

    with pytest.raises(ConfigurationError, match="set ANYTRACK_OUTBOX_KEYS"):
        await outbox.rekey()
    assert await outbox.key_usage() == {"": 0}
