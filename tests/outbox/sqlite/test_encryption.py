"""Encrypted outbox files: nothing personal is in them, keys are replaced, nothing is given up."""

import pytest

from anytrack_async.codec.encryption import KeyRing
from anytrack_async.codec.storage import encode
from anytrack_async.delivery.flow import LaneState
from anytrack_async.errors import ConfigurationError, MissingKeyError, QueueFullError
from anytrack_async.events import BackPressure, LaneHeld
from anytrack_async.models.customer import Customer
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.dead_letters import DeadLetterFilter
from anytrack_async.outbox.sqlite import encryption
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale
from anytrack_async.testing.outbox_rules.base import deliver, orders
from tests.delivery.doubles import FakeSink, World
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

pytest.importorskip("cryptography")

pytestmark = pytest.mark.asyncio


# At rest


async def test_no_personal_data_is_on_the_disk(path):
    async with Opened(path, NEW) as outbox:
        await outbox.append(personal(1, 2, 3))
        await reject(outbox)
        await reject(outbox, due=0.0)
        assert path.with_name("outbox.db-wal").stat().st_size
        assert EMAIL.encode() not in content(path)
        assert b"sale:1" in content(path)  # event ids are not encrypted
    assert EMAIL.encode() not in content(path)
    assert b"custom" not in content(path)


async def test_without_keys_the_data_would_be_there(path):
    async with Opened(path) as outbox:
        await outbox.append(personal(1))
        assert EMAIL.encode() in content(path)


async def test_no_digest_confirms_a_guess_of_the_content(path):
    async with Opened(path, NEW) as outbox:
        await outbox.append(personal(1))
    ((digest,),) = rows(path, "SELECT digest FROM log")
    async with Opened(path.with_name("plain.db")) as outbox:
        await outbox.append(personal(1))
    ((plain,),) = rows(path.with_name("plain.db"), "SELECT digest FROM log")

    assert encode(personal(1)[0]).digest == plain
    assert plain not in content(path)
    assert digest != plain


async def test_corrected_and_discarded_dead_letters_are_encrypted_too(path):
    async with Opened(path, NEW) as outbox:
        await outbox.append(personal(1, 2))
        await reject(outbox)
        await reject(outbox)
        corrected = sale(1, customer=Customer(email=f"new.{EMAIL}"))
        assert await outbox.correct(corrected) == ["alpha"]
        assert await outbox.discard("alpha", where=DeadLetterFilter(text=EMAIL)) == 1
        reports = await outbox.reports(["sale:2"])
        claim = await outbox.claim("alpha", 9, LEASE)

        assert claim.entries.conversions == (corrected,)
        assert reports["sale:2"].outcomes["alpha"].error == f"unknown address {EMAIL}"
        assert await outbox.rekey() == 0
        assert EMAIL.encode() not in content(path)


async def test_a_large_call_is_encrypted_too(path):
    async with Opened(path, NEW) as outbox:
        await outbox.append(personal(*range(137)))
        assert EMAIL.encode() not in content(path)
        assert await deliver(outbox, "alpha") == list(range(137))


# Reading


async def test_everything_can_be_read_with_the_key(path):
    async with Opened(path, NEW) as outbox:
        await outbox.append(personal(1, 2, 3))
        await reject(outbox)
        await reject(outbox, due=0.0)
    async with Opened(path, OLD, NEW) as outbox:
        claim = await outbox.claim("alpha", 9, LEASE)
        (letter,) = await outbox.dead_letters()
        outcomes = (await outbox.reports(["sale:1"]))["sale:1"].outcomes

        assert claim.entries.conversions == tuple(personal(2, 3))
        assert claim.entries.attempts == (1, 0)
        assert letter.conversion == personal(1)[0]
        assert letter.error == outcomes["alpha"].error == f"unknown address {EMAIL}"
        assert (await outbox.verify()).is_intact
        assert await outbox.append(personal(1)) == [Appended.REPEAT]
        assert await outbox.replay("alpha") == 1


async def test_conversions_in_memory_are_not_decrypted(path, monkeypatch):
    outbox = SQLiteOutbox(path, keys=KeyRing(NEW))
    await outbox.open(["alpha"])
    await outbox.append(personal(1, 2))
    monkeypatch.setattr(encryption, "open_record", None)
    claim = await outbox.claim("alpha", 9, LEASE)

    assert claim.entries.conversions == tuple(personal(1, 2))
    await outbox.aclose()


async def test_a_decrypted_conversion_is_kept_in_memory(path, monkeypatch):
    async with Opened(path, NEW) as outbox:
        await outbox.append(personal(1, 2))
    outbox = SQLiteOutbox(path, keys=KeyRing(NEW))
    await outbox.open(["alpha", "beta"])
    assert len((await outbox.claim("alpha", 9, LEASE)).entries) == 2
    monkeypatch.setattr(encryption, "open_record", None)
    assert len((await outbox.claim("beta", 9, LEASE)).entries) == 2
    await outbox.aclose()


async def test_a_claim_is_in_log_order_if_only_some_are_in_memory(path):
    outbox = SQLiteOutbox(path, keys=KeyRing(NEW))
    await outbox.open(["alpha"])
    await outbox.append(personal(*range(120)))
    for seq in range(1, 121, 3):
        del outbox._cache._by_seq[seq]
    claim = await outbox.claim("alpha", 200, LEASE)

    assert orders(claim) == list(range(120))
    await outbox.aclose()


async def test_an_unencrypted_file_stays_readable(path):
    async with Opened(path) as outbox:
        await outbox.append(personal(1))
    async with Opened(path, NEW) as outbox:
        await outbox.append(personal(2))
        assert await outbox.key_usage() == {NEW_ID: 1, "": 1}
        assert await deliver(outbox, "alpha") == [1, 2]


async def test_keys_must_be_a_key_ring(path):
    with pytest.raises(ConfigurationError, match=r"keys must be a KeyRing\(…\), got str"):
        SQLiteOutbox(path, keys=NEW)


# Missing keys


@pytest.mark.parametrize("keys", [(), (NEW,)])
async def test_opening_without_the_key_names_its_id(path, keys):
    async with Opened(path, OLD) as outbox:
        await outbox.append(personal(1))
    with pytest.raises(MissingKeyError) as caught:
        await SQLiteOutbox(path, keys=KeyRing(keys) if keys else None).open(["alpha"])

    assert caught.value.key_ids == (OLD_ID,)
    assert f"encrypted with the key {OLD_ID}" in str(caught.value)
    assert "ANYTRACK_OUTBOX_KEYS" in str(caught.value)
    assert str(path) in str(caught.value)
    async with Opened(path, OLD) as outbox:
        assert await deliver(outbox, "alpha") == [1]


async def test_a_key_that_no_row_needs_may_be_missing(path):
    async with Opened(path, OLD) as outbox:
        await outbox.append(personal(1))
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=LEASE)
    async with Opened(path, NEW) as outbox:
        assert await outbox.append(personal(1, 2)) == [Appended.REPEAT, Appended.NEW]


async def test_a_program_that_lacks_a_key_of_another_gives_nothing_up(path):
    async with Opened(path) as keyless, Opened(path, NEW) as other:
        await keyless.append(personal(1))
        await other.append(personal(2))
        with pytest.raises(MissingKeyError, match=NEW_ID):
            await keyless.claim("alpha", 9, LEASE)
        claim = await other.claim("alpha", 9, LEASE)  # the lease was given back

        assert orders(claim) == [1, 2]
        assert claim.entries.attempts == (0, 0)
        await other.settle(claim)
        await reject(other, "beta")
        await reject(other, "beta")
        with pytest.raises(MissingKeyError, match=NEW_ID):
            await keyless.dead_letters()
        with pytest.raises(MissingKeyError, match=NEW_ID):
            await keyless.reports(["sale:1"])
        with pytest.raises(MissingKeyError, match=NEW_ID):
            await keyless.verify()


async def test_a_lane_that_lacks_a_key_is_held(path):
    alpha = FakeSink("alpha")
    outbox = SQLiteOutbox(path, capacity=1)
    world = World(alpha, outbox=outbox, drain=0.1, on_full="raise")
    async with Opened(path, NEW) as other:
        async with world.open():
            await other.append(personal(1))
            await world.until(lambda: world.events_of(LaneHeld))
            with pytest.raises(QueueFullError):
                await world.submit(sale(2))
            states = world.dispatcher.states()
        depths = await other.depths()

    (held,) = world.events_of(LaneHeld)
    full = next(event for event in world.events_of(BackPressure) if event.destination == "alpha")
    assert "`anytrack outbox keys`" in full.action
    assert "ANYTRACK_OUTBOX_KEYS" in full.action
    assert (held.cause, states) == ("encryption", {"alpha": LaneState.HELD})
    assert f"the key {NEW_ID}" in held.reason
    assert "add the whole key to ANYTRACK_OUTBOX_KEYS" in str(held.log_line())
    assert (depths["alpha"].waiting, depths["alpha"].dead) == (1, 0)
    assert not alpha.calls


# Damage


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE log SET payload = (SELECT payload FROM log WHERE seq = 2) WHERE seq = 1",
        "UPDATE log SET payload = substr(payload, 1, length(payload) - 1) WHERE seq = 1",
        "UPDATE log SET payload = substr(payload, 1, 20) WHERE seq = 1",
        "UPDATE log SET payload = x'01' WHERE seq = 1",
        "UPDATE log SET payload = CAST(x'01ffffffff' || substr(payload, 6) AS BLOB) WHERE seq = 1",
        "UPDATE ids SET event_id = 'sale:9' WHERE seq = 1",
    ],
)
async def test_a_changed_record_becomes_a_dead_letter(path, damage):
    async with Opened(path, NEW) as outbox:
        await outbox.append(personal(1, 2))
    change(path, damage)
    async with Opened(path, NEW) as outbox:
        (event_id,) = {"sale:1", "sale:9"} & {*await outbox.undelivered("alpha")}
        claim = await outbox.claim("alpha", 9, LEASE)
        assert orders(claim) == [2]
        await outbox.settle(claim)
        outcome = (await outbox.reports([event_id]))[event_id].outcomes["alpha"]
        (problem,) = (await outbox.verify()).problems

        assert outcome.status is Status.DEAD
        assert "it cannot be decrypted" in outcome.error
        assert f"the record of {event_id} cannot be read" in problem


async def test_a_changed_error_text_says_so(path):
    async with Opened(path, NEW) as outbox:
        await outbox.append(personal(1, 2))
        await reject(outbox)
        await reject(outbox)
    change(path, "UPDATE exception SET error = (SELECT error FROM exception WHERE seq = 2)")
    async with Opened(path, NEW) as outbox:
        letters = await outbox.dead_letters()

    assert [letter.error for letter in letters] == [
        "the reason cannot be decrypted: it was damaged or changed",
        f"unknown address {EMAIL}",
    ]


async def test_a_forked_child_encrypts_with_a_data_key_of_its_own(path, monkeypatch):
    async with Opened(path, NEW) as outbox:
        await outbox.append(personal(1))
        parent = outbox._thread
        with monkeypatch.context() as child:
            child.setattr(parent, "in_this_process", False)
            await outbox.open(["alpha"])
            await outbox.append(personal(2))
            claim = await outbox.claim("alpha", 9, LEASE)
            await outbox.aclose()
        await parent.stop()

    assert orders(claim) == [1, 2]
    assert len(rows(path, "SELECT DISTINCT substr(payload, 1, 21) FROM log")) == 2
