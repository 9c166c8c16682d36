"""Replacing the keys of an encrypted outbox file."""

import anyio
import pytest

from anytrack_async.codec.encryption import KeyRing
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.sqlite import encryption
from anytrack_async.outbox.sqlite.queries import encryption as queries
from anytrack_async.testing.outbox_contract import LEASE, sale
from anytrack_async.testing.outbox_rules.base import deliver, orders
from tests.outbox.sqlite.encrypted import (
    EMAIL,
    NEW,
    NEW_ID,
    OLD,
    OLD_ID,
    Opened,
    change,
    content,
    personal,
    reject,
    rows,
)
from tests.outbox.sqlite.test_upgrade import create

pytest.importorskip("cryptography")

pytestmark = pytest.mark.asyncio


# Replacing keys


async def fill(path, *keys, orders=range(1, 8)):
    async with Opened(path, *keys) as outbox:
        await outbox.append(personal(*orders))
        await reject(outbox)
        await outbox.discard("alpha")
        await reject(outbox)
        await reject(outbox, due=0.0)


@pytest.mark.parametrize("keys", [(OLD,), ()], ids=["encrypted", "plain"])
async def test_rekeying_encrypts_everything_with_the_first_key(path, keys, monkeypatch):
    monkeypatch.setattr(encryption, "_POSITIONS_PER_STEP", 3)
    monkeypatch.setattr(encryption, "_ROWS_PER_STEP", 2)
    before = OLD_ID if keys else ""
    await fill(path, *keys)
    async with Opened(path, NEW, OLD) as outbox:
        assert await outbox.key_usage() == {NEW_ID: 0, OLD_ID: 0, "": 0} | {before: 13}
        assert await outbox.rekey() == 13  # 7 records, 3 errors, and those of 3 attempts
        assert await outbox.key_usage() == {NEW_ID: 13, OLD_ID: 0, "": 0}
        assert EMAIL.encode() not in content(path)
        assert await outbox.rekey() == 0
    async with Opened(path, NEW) as outbox:  # the old key can be removed
        (letter,) = await outbox.dead_letters()
        report = (await outbox.reports(["sale:1"]))["sale:1"]
        assert letter.error == report.outcomes["alpha"].error == f"unknown address {EMAIL}"
        (attempt,) = await outbox.attempts("sale:1")
        assert attempt.error == letter.error
        assert await deliver(outbox, "alpha") == [3, 4, 5, 6, 7]
        assert await deliver(outbox, "beta") == [1, 2, 3, 4, 5, 6, 7]
    assert rows(path, queries.LISTED_KEYS) == [(NEW_ID,)]


async def test_a_step_of_rekeying_is_limited_in_bytes(path, monkeypatch):
    monkeypatch.setattr(encryption, "_BYTES_PER_STEP", 1_000)
    async with Opened(path) as outbox:
        await outbox.append([sale(order, custom_data={"pad": "x" * 600}) for order in range(6)])
    async with Opened(path, NEW) as outbox:
        first = await outbox._run(encryption.Rekeying(KeyRing(NEW)).step)
        assert (first.rows, first.more) == (2, True)
        assert await outbox.rekey() == 4  # interrupted, it goes on


async def test_rekeying_keeps_the_amounts_that_an_earlier_release_wrote(path):
    create(path, 1)
    async with Opened(path, NEW) as outbox:
        assert await outbox.rekey()
        (result,) = await outbox.append([sale(1, event_id="waiting", revenue=99)])

    assert str(result.first) == "sale 19.90 EUR"


async def test_keys_are_replaced_under_a_running_client(path, monkeypatch):
    monkeypatch.setattr(encryption, "_ROWS_PER_STEP", 5)
    async with Opened(path, OLD, NEW) as writer:
        await writer.append(personal(*range(40)))
        async with Opened(path, NEW, OLD) as outbox, anyio.create_task_group() as tasks:
            tasks.start_soon(outbox.rekey)
            for order in range(40, 60):
                await writer.append(personal(order))
                await reject(writer)
        async with Opened(path, NEW, OLD) as outbox:
            # The writer still encrypts with the old key, which is therefore still listed.
            await writer.append(personal(99))
            assert {row[0] for row in rows(path, queries.LISTED_KEYS)} == {OLD_ID, NEW_ID}
            assert orders(await outbox.claim("beta", 99, LEASE)) == [*range(60), 99]
            assert orders(await writer.claim("alpha", 99, LEASE)) == [*range(20, 60), 99]
            assert len(await writer.dead_letters()) == 20


@pytest.mark.parametrize("write", [reject, lambda writer: writer.append(personal(9))])
async def test_a_key_that_is_used_during_rekeying_is_not_removed(path, write, monkeypatch):
    monkeypatch.setattr(encryption, "_ROWS_PER_STEP", 2)
    async with Opened(path, OLD, NEW) as writer, Opened(path, NEW, OLD) as outbox:
        await writer.append(personal(1, 2, 3))
        rekeying = encryption.Rekeying(KeyRing([NEW, OLD]))
        assert (await outbox._run(rekeying.step)).more
        await write(writer)  # behind the position of the next step, or before it
        await outbox._run_steps(rekeying.step)

        assert {row[0] for row in rows(path, queries.LISTED_KEYS)} == {OLD_ID, NEW_ID}
        await outbox.rekey()
        assert rows(path, queries.LISTED_KEYS) == [(NEW_ID,)]
        await write(writer)  # lists its key again
        assert {row[0] for row in rows(path, queries.LISTED_KEYS)} == {OLD_ID, NEW_ID}


async def test_a_damaged_record_keeps_its_key(path):
    await fill(path, OLD)
    change(path, "UPDATE log SET payload = substr(payload, 1, 60) WHERE seq = 5")
    change(path, "UPDATE exception SET error = substr(error, 1, 60) WHERE seq = 2")
    async with Opened(path, NEW, OLD) as outbox:
        assert await outbox.rekey() == 11
        assert await outbox.key_usage() == {NEW_ID: 11, OLD_ID: 2, "": 0}
    assert {row[0] for row in rows(path, queries.LISTED_KEYS)} == {OLD_ID, NEW_ID}


async def test_rekeying_needs_keys(outbox):
    with pytest.raises(ConfigurationError, match="set ANYTRACK_OUTBOX_KEYS"):
        await outbox.rekey()


async def test_key_usage_without_keys_counts_what_is_not_encrypted(outbox):
    await outbox.append(personal(1, 2))

    assert await outbox.key_usage() == {"": 2}
