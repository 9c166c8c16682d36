"""Encryption of an outbox in PostgreSQL: of the records, and of the reasons of failures.

Both are encrypted in the program, so that the server, its replicas and its backups have no customer
in the clear. A record is encrypted before it is appended, when it has no position yet; its event id
is in it. A reason is bound to its position and destination. In the columns of text it is the
character 1 and base64.

The table ``encryption_key`` lists the keys in use; see ``sql/encryption.sql``. So a row with an
unknown key is told from a damaged one, and no conversion is given up because a program was started
without its keys.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from anytrack_async.codec.storage import SEALED, UNDECIPHERABLE, Encoded
from anytrack_async.errors import DecodeError, MissingKeyError
from anytrack_async.outbox.postgres.errors import storable

if TYPE_CHECKING:
    from anytrack_async.codec.encryption import KeyRing

SEALED_TEXT = "\x01"
"""The first character of an encrypted reason."""

_DIGEST_BYTES = 16
_RECORD = b"record"
_KEY_CHARACTERS = 8
"""Characters of base64 that have the first bytes of a sealed text, with the id of its key."""

UNREADABLE_REASON = "the reason cannot be decrypted: it was damaged or changed"


class RowCipher:
    """Encrypts and decrypts the texts of one open outbox; without keys, texts stay as they are.

    Args:
        ring: the keys; None for none.
        schema: name of the schema, for messages.

    Attributes:
        key_id: the id of the key that encrypts; None without keys.
        listed: ids of the keys that rows may be encrypted with, as far as it is known.
    """

    def __init__(self, ring: KeyRing | None, schema: str) -> None:
        self.ring = ring
        self.listed: frozenset[str] = frozenset()
        self.key_id = None if ring is None else ring.ids[0]
        self._schema = schema
        self.renew()

    def renew(self) -> None:
        """Begin a new data key; call it when the outbox is opened, perhaps in another process."""
        if self.ring is not None:
            from anytrack_async.codec.encryption import Cipher

            self._cipher = Cipher(self.ring)

    @property
    def if_encrypting(self) -> RowCipher | None:
        """Itself if it encrypts, else None."""
        return None if self.ring is None else self

    def has_key(self, key_id: str) -> bool:
        """Return whether texts of this key can be opened."""
        return self.ring is not None and key_id in self.ring.ids

    def listing(self, sql: str) -> str:
        """Return a statement that writes encrypted texts, such that it lists their key."""
        if self.key_id is None:
            return sql
        return f"SELECT x.*, anytrack.list_key_v1('{self.key_id}') FROM ({sql}) AS x"  # noqa: S608

    # Records

    def seal_record(self, payload: bytes, digest: bytes) -> Encoded:
        """Return a record encrypted, with its digest in it.

        The digest beside it is the tag of the ciphertext: it identifies this version of the record,
        and reveals nothing about its content.
        """
        if self.ring is None:
            return Encoded(payload, digest)
        if len(digest) != _DIGEST_BYTES:
            digest = bytes(_DIGEST_BYTES)  # matches no payload, so that reading validates it
        sealed = self._cipher.seal(digest + payload, _RECORD)
        return Encoded(sealed, sealed[-_DIGEST_BYTES:])

    def open_record(self, payload: bytes, digest: bytes) -> tuple[bytes, bytes]:
        """Return payload and digest of a record, which may be plain.

        The payload is `UNDECIPHERABLE` if it cannot be decrypted.

        Raises:
            MissingKeyError: its key is not in the ring.
        """
        if payload[:1] != SEALED:
            return payload, digest
        content = self._open(payload, _RECORD)
        if content is None:
            return UNDECIPHERABLE, b""
        return content[_DIGEST_BYTES:], content[:_DIGEST_BYTES]

    # Reasons

    def seal_error(self, seq: int, destination: str, error: str) -> str:
        """Return the reason of a failure as it is stored; an empty one stays empty."""
        error = storable(error)
        if self.ring is None or not error:
            return error.replace(SEALED_TEXT, "\ufffd", 1) if error[:1] == SEALED_TEXT else error
        sealed = self._cipher.seal(error.encode(), _error_context(seq, destination))
        return SEALED_TEXT + b64encode(sealed).decode()

    def open_error(self, seq: int, destination: str, error: str) -> str:
        """Return the reason of a failure, or a sentence that says that it cannot be decrypted.

        Raises:
            MissingKeyError: its key is not in the ring.
        """
        if error[:1] != SEALED_TEXT:
            return error
        try:
            sealed = b64decode(error[1:], validate=True)
            content = self._open(sealed, _error_context(seq, destination))
            return UNREADABLE_REASON if content is None else content.decode()
        except (Base64Error, ValueError):
            return UNREADABLE_REASON

    def _open(self, sealed: bytes, context: bytes) -> bytes | None:
        """Return the plain text in *sealed*; None if it is damaged."""
        key_id = _key_id(sealed)
        if not self.has_key(key_id):
            if key_id in self.listed:
                raise missing_key_error([key_id], self._schema)
            return None
        try:
            return self._cipher.open(sealed, context)
        except DecodeError:
            return None

    # Keys

    def has_unlisted(self, texts: Iterable[bytes | str]) -> bool:
        """Return whether one of *texts* has a key that is neither in the ring nor in `listed`."""
        heads = {text[: _KEY_CHARACTERS + 1] for text in texts}
        return any(
            not self.has_key(key_id) and key_id not in self.listed
            for key_id in map(_key_id_of_stored, heads)
            if key_id
        )

    def is_first(self, stored: bytes | str) -> bool:
        """Return whether a stored text is encrypted with the first key."""
        return _key_id_of_stored(stored) == self.key_id

    @staticmethod
    def key_id_of(stored: bytes | str) -> str:
        """Return the id of the key of a stored text; empty if it is not encrypted."""
        return _key_id_of_stored(stored)


def _error_context(seq: int, destination: str) -> bytes:
    return f"error\n{seq}\n{destination}".encode()


def _key_id(sealed: bytes) -> str:
    return sealed[1:5].hex()


def _key_id_of_stored(text: bytes | str) -> str:
    """Return the id of the key of a record or a reason; empty if it is not encrypted."""
    if isinstance(text, bytes):
        return _key_id(text) if text[:1] == SEALED else ""
    if text[:1] != SEALED_TEXT:
        return ""
    try:
        return _key_id(b64decode(text[1 : _KEY_CHARACTERS + 1], validate=True))
    except (Base64Error, ValueError):
        return ""


def missing_key_error(key_ids: Sequence[str], schema: str) -> MissingKeyError:
    """Return the error of rows that are encrypted with keys which the program does not have."""
    names = f"key{'s' if len(key_ids) > 1 else ''} {', '.join(key_ids)}"
    return MissingKeyError(
        f"the outbox in schema {schema!r} of PostgreSQL: conversions in it are encrypted with the "
        f"{names}, not known to this program: add the whole key to ANYTRACK_OUTBOX_KEYS, or to "
        "PostgresOutbox(keys=KeyRing(…)), and start the program again; nothing is lost",
        key_ids,
    )
