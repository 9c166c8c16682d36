"""`anytrack outbox new-key`, `keys` and `rekey`, and the other commands on an encrypted file."""

import json

import anyio
import pytest

from anytrack_async import Conversion, Customer, SQLiteOutbox
from anytrack_async.codec.encryption import KeyRing
from anytrack_async.outbox.base import FailedEntry

pytest.importorskip("cryptography")

OLD = "6eb17cd4:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
NEW = "f502aee6:MjM0NTY3ODk6Ozw9Pj9AQUJDREVGR0hJSktMTU5PUFE"
OLD_ID, NEW_ID = OLD[:8], NEW[:8]
EMAIL = "jane@example.com"


async def fill(path) -> None:
    outbox = SQLiteOutbox(path, keys=KeyRing(OLD))
    await outbox.open(["meta"])
    customer = Customer(email=EMAIL)
    await outbox.append(
        [Conversion.sale(order_id=f"{n}", revenue=n, customer=customer) for n in range(3)]
    )
    claim = await outbox.claim("meta", 1, 60)
    (seq,) = claim.entries.seqs
    await outbox.settle(claim, [FailedEntry(seq=seq, attempts=1, error="too old", due=None)])
    await outbox.aclose()


@pytest.fixture
def encrypted(outbox_path):
    anyio.run(fill, outbox_path)
    return outbox_path


@pytest.fixture
def use_keys(monkeypatch):
    return lambda *keys: monkeypatch.setenv("ANYTRACK_OUTBOX_KEYS", ",".join(keys))


def test_a_new_key_is_one_line_for_the_variable(run):
    keys = {run("outbox", "new-key").out for _ in range(3)}

    assert len(keys) == 3
    assert all(KeyRing(key).ids == (key[:8],) for key in keys)


@pytest.mark.parametrize(
    "command",
    [("stats",), ("outbox", "dead-letters"), ("outbox", "verify"), ("outbox", "keys")],
)
def test_without_its_key_a_file_is_not_opened(run, encrypted, use_keys, command):
    for keys in ((), (NEW,)):
        use_keys(*keys)
        result = run(*command)

        assert result.code == 1
        assert result.err.startswith(f"error: outbox file {encrypted}")
        assert f"the key {OLD_ID}" in result.err
        assert result.err.count("\n") == 1


def test_commands_read_an_encrypted_file(run, encrypted, use_keys):
    use_keys(NEW, OLD)

    assert "too old" in run("outbox", "dead-letters").out
    assert "the file is intact" in run("outbox", "verify").out
    assert run("outbox", "replay", "meta").out.startswith("1 dead letter is due again at meta")


def test_keys_are_counted(run, encrypted, use_keys):
    use_keys(NEW, OLD)
    printed = {line.split()[0]: line.split()[1:] for line in run("outbox", "keys").out.splitlines()}

    assert printed[NEW_ID] == ["0", "encrypts", "new", "rows"]
    assert printed[OLD_ID] == ["5", "see:", "anytrack", "outbox", "rekey"]
    assert json.loads(run("outbox", "keys", "--json").out) == {
        "keys": {NEW_ID: 0, OLD_ID: 5, "": 0}
    }


def test_after_rekeying_the_old_key_can_be_removed(run, encrypted, use_keys):
    use_keys(NEW, OLD)

    assert run("outbox", "rekey").out == f"5 rows encrypted with the key {NEW_ID}\n"
    assert "no row needs it; remove it" in run("outbox", "keys").out
    use_keys(NEW)
    assert run("outbox", "verify").code == 0


def test_rekeying_says_what_it_could_not_encrypt(run, encrypted, use_keys):
    async def damage(path) -> None:
        outbox = SQLiteOutbox(path, keys=KeyRing(OLD))
        await outbox.open([])
        statement = "UPDATE log SET payload = substr(payload, 1, 60) WHERE seq = 2"
        await outbox._run(lambda db: db.sql.execute(statement) and None)
        await outbox.aclose()

    anyio.run(damage, encrypted)
    use_keys(NEW, OLD)
    result = run("outbox", "rekey")

    assert f"4 rows encrypted with the key {NEW_ID}\n" in result.out
    assert f"1 rows are still encrypted with the key {OLD_ID}: they are damaged" in result.out


def test_an_unencrypted_file_without_keys(run, outbox_path, use_keys):
    async def create(path) -> None:
        outbox = SQLiteOutbox(path)
        await outbox.open([])
        await outbox.append([Conversion.lead(order_id="1")])
        await outbox.aclose()

    anyio.run(create, outbox_path)

    assert "not encrypted: ANYTRACK_OUTBOX_KEYS is not set" in run("outbox", "keys").out
    result = run("outbox", "rekey")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "set ANYTRACK_OUTBOX_KEYS" in result.err
    use_keys(NEW)
    assert "see: anytrack outbox rekey" in run("outbox", "keys").out


def test_a_wrong_key_is_a_line_that_does_not_show_it(run, outbox_path, encrypted, use_keys):
    use_keys(NEW, OLD[:-4])
    result = run("outbox", "verify")

    assert result.code == 2
    assert result.err.startswith("error: ANYTRACK_OUTBOX_KEYS: key 2 of the ring is not a key")
    assert OLD[9:20] not in result.err
