"""An outbox file is copied into a database."""

from __future__ import annotations

import signal
import sys

import anyio
import pytest

from anytrack_async import PostgresOutbox, SQLiteOutbox
from anytrack_async.client import copying
from anytrack_async.client.copying import copy_outbox
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.outbox.base import Appended
from anytrack_async.testing.outbox_rules.base import deliver, failures, sale, sales

pytestmark = pytest.mark.asyncio

NAMES = ["alpha", "beta"]


async def filled(path):
    """Return an open file: 1 delivered after a retry, 2 dead at alpha, 3 for beta only, 4 to 9."""
    source = SQLiteOutbox(path)
    await source.open(NAMES)
    await source.append(sales(1, 2))
    claim = await source.claim("alpha", 10, 60)
    await source.settle(claim, [*failures(claim, 1, due=0.0), *failures(claim, 2)])
    await source.settle(await source.claim("alpha", 10, 60))
    await source.settle(await source.claim("beta", 1, 60))
    await source.prune(remember=3600)
    await source.append([sale(3)], ["beta"])
    await source.append(sales(4, 5, 6, 7, 8, 9))
    return source


async def copy(source, target, path):
    await target.open(NAMES)
    return await copy_outbox(source, target, path)


async def test_every_state_is_copied(tmp_path, postgres_dsn, postgres_schema, monkeypatch):
    monkeypatch.setattr(copying, "_LATER", 0.0)
    monkeypatch.setattr(copying, "_AT_ONCE", 3)
    path = tmp_path / "outbox.db"
    source, target = await filled(path), PostgresOutbox(postgres_dsn, schema=postgres_schema)
    report = await copy(source, target, path)
    assert (report.waiting, report.dead, report.remembered, report.known) == (7, 1, 1, 1)

    (letter,) = await target.dead_letters()
    assert (letter.destination, letter.event_id, letter.error) == ("alpha", "sale:2", "no thanks")
    first, contradicting = await target.append([sale(1), sale(4, revenue=99)])
    assert first is Appended.REPEAT
    assert isinstance(contradicting, Contradiction)
    attempts = {number: await source.attempts(f"sale:{number}") for number in (1, 2, 4)}

    again = await copy_outbox(source, target, path)
    assert (again.waiting, again.dead, again.remembered, again.known) == (0, 0, 0, 9)
    for number, own in attempts.items():
        assert await target.attempts(f"sale:{number}") == own
    assert [item.status for item in attempts[2]] == ["dead"]
    assert [(item.status, item.number) for item in attempts[1]] == [
        ("waiting", 1),
        ("delivered", 2),
    ]
    assert sorted(await deliver(target, "alpha")) == [4, 5, 6, 7, 8, 9]
    assert sorted(await deliver(target, "beta")) == [2, 3, 4, 5, 6, 7, 8, 9]
    await source.aclose()
    await target.aclose()


async def test_an_interrupted_copy_goes_on_where_it_was(
    tmp_path, postgres_dsn, postgres_schema, monkeypatch
):
    monkeypatch.setattr(copying, "_AT_ONCE", 2)
    path = tmp_path / "outbox.db"
    source, target = await filled(path), PostgresOutbox(postgres_dsn, schema=postgres_schema)
    await target.open(NAMES)
    rounds = 0

    def interrupt(_):
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            raise KeyError

    with pytest.raises(KeyError):
        await copy_outbox(source, target, path, on_progress=interrupt)
    report = await copy_outbox(source, target, path)
    assert report.waiting == 5  # four positions, two of them for delivery, were done before
    await anyio.lowlevel.checkpoint()
    await source.aclose()
    await target.aclose()


async def test_dead_letters_stay_in_the_file_while_something_waits_at_the_new_place(
    tmp_path, postgres_dsn, postgres_schema
):
    path = tmp_path / "outbox.db"
    source, target = await filled(path), PostgresOutbox(postgres_dsn, schema=postgres_schema)
    await target.open(NAMES)
    await target.append(sales(77))
    report = await copy_outbox(source, target, path)

    assert report.left_dead == {"alpha": 1}
    assert not await target.dead_letters()
    assert sorted(await deliver(target, "alpha")) == [4, 5, 6, 7, 8, 9, 77]
    await source.aclose()
    await target.aclose()


async def test_counts_are_copied_once_and_what_was_counted_since_is_added(
    tmp_path, postgres_dsn, postgres_schema
):
    path = tmp_path / "outbox.db"
    source, target = await filled(path), PostgresOutbox(postgres_dsn, schema=postgres_schema)
    await target.open(NAMES)
    await target.append([sale(100, source="own")])

    async def counted():
        accepted = await target.accepted_counts(since=0)
        outcomes = await target.outcome_counts(since=0)
        numbers = {item.source: (item.count, item.value) for item in accepted}
        return numbers, sum(item.count for item in outcomes)

    for _ in range(2):
        await copy_outbox(source, target, path)
        # The sum of 1 to 9; two outcomes of 1 at alpha and one at beta, and one of 2 at alpha.
        assert await counted() == ({"own": (1, 100), "": (9, 45)}, 4)
    await source.append(sales(10))
    await source.settle(await source.claim("beta", 1, 60))
    await copy_outbox(source, target, path)
    assert await counted() == ({"own": (1, 100), "": (10, 55)}, 5)
    await source.aclose()
    await target.aclose()


async def test_a_copy_that_is_killed_goes_on_and_what_is_dead_twice_stays_so(
    tmp_path, postgres_dsn, postgres_schema, monkeypatch
):
    monkeypatch.setattr(copying, "_LEASE", 0.3)
    path = tmp_path / "outbox.db"
    source = SQLiteOutbox(path)
    await source.open(NAMES)
    await source.append(sales(*range(1, 31)))
    for name, dead in (("alpha", range(1, 7)), ("beta", range(4, 10))):
        claim = await source.claim(name, 20, 60)
        await source.settle(claim, [*failures(claim, *dead), *failures(claim, 15, due=0.0)])
    for method, calls in (("settle", 2), ("append", 15)):  # 12 appends of single dead letters
        await source.aclose()
        command = [sys.executable, "-c", KILLED, path, postgres_dsn, postgres_schema]
        killed = await anyio.run_process([*command, method, str(calls)], check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        await source.open(NAMES)
    target = PostgresOutbox(postgres_dsn, schema=postgres_schema)
    await copy(source, target, path)

    for outbox in (source, target):
        depths = await outbox.depths()
        assert [(depths[name].waiting, depths[name].dead) for name in NAMES] == [(11, 6), (11, 6)]
    for number in range(1, 31):
        own = await source.attempts(f"sale:{number}")
        copied = await target.attempts(f"sale:{number}")
        assert [item for item in copied if item.code != "lease_lost"] == own
    assert (await target.verify()).is_intact
    await source.aclose()
    await target.aclose()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path

from anytrack_async import PostgresOutbox, SQLiteOutbox
from anytrack_async.client import copying

path, dsn, schema, method, calls = sys.argv[1:]
copying._AT_ONCE, copying._LEASE = 4, 0.3
left = int(calls)
original = getattr(PostgresOutbox, method)


async def counted(*args, **options):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return await original(*args, **options)


async def main():
    setattr(PostgresOutbox, method, counted)
    source, target = SQLiteOutbox(path), PostgresOutbox(dsn, schema=schema)
    await source.open([])
    await target.open(["alpha", "beta"])
    await copying.copy_outbox(source, target, Path(path))


asyncio.run(main())
"""
