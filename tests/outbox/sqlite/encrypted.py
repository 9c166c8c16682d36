"""Encrypted outbox files for tests, and a look into them."""

import sqlite3
from contextlib import closing

from anytrack_async.codec.encryption import KeyRing
from anytrack_async.models.customer import Customer
from anytrack_async.outbox.base import FailedEntry
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale

EMAIL = "jane.doe@example.com"
OLD = "6eb17cd4:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
NEW = "f502aee6:MjM0NTY3ODk6Ozw9Pj9AQUJDREVGR0hJSktMTU5PUFE"
OLD_ID, NEW_ID = OLD[:8], NEW[:8]


class Opened:
    """An open outbox for "alpha" and "beta", which decodes every conversion that it claims."""

    def __init__(self, path, *keys):
        self.outbox = SQLiteOutbox(path, keys=KeyRing(keys) if keys else None)

    async def __aenter__(self):
        await self.outbox.open(["alpha", "beta"])
        self.outbox._cache.remember = lambda *_: None
        return self.outbox

    async def __aexit__(self, *_):
        await self.outbox.aclose()


def personal(*order_numbers):
    return [sale(order, customer=Customer(email=EMAIL)) for order in order_numbers]


async def reject(outbox, destination="alpha", error=f"unknown address {EMAIL}", due=None):
    """Let a destination reject the first conversion that it can claim."""
    claim = await outbox.claim(destination, 1, LEASE)
    (seq,) = claim.entries.seqs
    await outbox.settle(claim, [FailedEntry(seq=seq, attempts=1, error=error, due=due)])


def content(path):
    """All that is on the disk of an outbox."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def change(path, statement, *parameters):
    with closing(sqlite3.connect(path)) as file:
        assert file.execute(statement, parameters).rowcount
        file.commit()


def rows(path, statement):
    with closing(sqlite3.connect(path)) as file:
        return file.execute(statement).fetchall()
