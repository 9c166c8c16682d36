"""Encryption of stored records: `KeyRing`, of which the first key encrypts and all keys decrypt.

A sealed text is bytes; the first byte tells it from JSON, which begins with a brace::

    01 | id of the key (4) | salt (16) | nonce (12) | ciphertext and tag (AES-256-GCM)

The key of the ring is never used as an AES key itself. Each `Cipher` draws a salt and derives a
data key from the two (HKDF-SHA256), because random nonces of 96 bits are safe for 2^32 texts of a
key only, and a key of the ring may encrypt more than that in years. With a data key for each
opening of an outbox, and a new one after 2^30 texts, two equal nonces of one data key have a chance
of less than 2^-36.

A context is authenticated with each text, such as the event id of a record. So a text that was
moved to another row cannot be decrypted, and neither can a text that was changed.

Decrypting takes about 5 µs, deriving a data key 15 µs, so derived keys are kept.
"""

from __future__ import annotations

import hmac
import os
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from anytrack_async.codec.storage import SEALED
from anytrack_async.errors import ConfigurationError, DecodeError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES, _ID_BYTES, _SALT_BYTES, _NONCE_BYTES = 32, 4, 16, 12
_HEAD_BYTES = 1 + _ID_BYTES + _SALT_BYTES + _NONCE_BYTES

PREFIX_BYTES = 1 + _ID_BYTES
"""Length of the beginning of a sealed text that depends on the key only."""

_TEXTS_PER_SALT = 2**30
_MAX_DATA_KEYS = 1_000

_HOW_TO_MAKE = "make one with `anytrack outbox new-key`"

Key: TypeAlias = "str | bytes"
"""32 bytes, or text: ``3fa9c2d1:`` and 43 characters of base64; the id may be left out."""


def new_key() -> str:
    """Return a new random key as text, beginning with its id."""
    return _as_text(os.urandom(_KEY_BYTES))


def _as_text(key: bytes) -> str:
    return f"{_id_of(key)}:{urlsafe_b64encode(key).decode().rstrip('=')}"


def _id_of(key: bytes) -> str:
    """Return the id of a key: a hash, so that two keys never share one, which reveals nothing."""
    return hmac.digest(key, b"anytrack_async: id of an outbox key", "sha256")[:_ID_BYTES].hex()


class KeyRing:
    """The keys of an encrypted outbox: the first encrypts, all of them decrypt.

    ``repr`` shows the ids of the keys only.

    Args:
        keys: texts as `anytrack outbox new-key` prints them, or 32 bytes each. A single text may
            have several, separated by commas, as in ``ANYTRACK_OUTBOX_KEYS``.

    Raises:
        ConfigurationError: a key is not valid or comes twice, there is none, or the extra
            ``[encryption]`` is not installed.
    """

    def __init__(self, keys: str | Iterable[Key]) -> None:
        parts = keys.split(",") if isinstance(keys, str) else keys
        self._keys: dict[str, bytes] = {}
        for number, part in enumerate(parts, 1):
            key = _parse(part, f"key {number} of the ring")
            if _id_of(key) in self._keys:
                raise ConfigurationError(f"the key {_id_of(key)} is in the ring twice: remove one")
            self._keys[_id_of(key)] = key
        if not self._keys:
            raise ConfigurationError(f"the key ring must have at least one key: {_HOW_TO_MAKE}")
        _check_installed()

    def __repr__(self) -> str:
        return f"<KeyRing: {', '.join(self._keys)}>"

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys; the first one encrypts."""
        return tuple(self._keys)

    @property
    def secrets(self) -> Mapping[str, bytes]:
        """Id → key; never log it."""
        return self._keys


def _parse(key: object, place: str) -> bytes:
    """Return the bytes of *key*; errors never contain it."""
    if isinstance(key, bytes):
        if len(key) != _KEY_BYTES:
            raise ConfigurationError(
                f"{place} must have {_KEY_BYTES} bytes, got {len(key)}: {_HOW_TO_MAKE}"
            )
        return key
    if not isinstance(key, str):
        kind = type(key).__name__
        raise ConfigurationError(f"{place} must be text or {_KEY_BYTES} bytes, got {kind}")
    key_id, _, encoded = key.strip().rpartition(":")
    try:
        # Both alphabets of base64, with or without padding.
        digits = encoded.rstrip("=").translate(str.maketrans("-_", "+/"))
        parsed = b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (Base64Error, ValueError):  # ValueError: characters beyond ASCII
        parsed = b""
    if len(parsed) != _KEY_BYTES:
        raise ConfigurationError(
            f"{place} is not a key, which is {_KEY_BYTES} bytes as base64, with its id and a colon "
            f"in front: {_HOW_TO_MAKE}"
        )
    if key_id and key_id != _id_of(parsed):
        raise ConfigurationError(
            f"{place} does not match the id in front of it: copy the whole key again"
        )
    return parsed


def _check_installed() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "encrypting an outbox needs cryptography: pip install 'anytrack_async[encryption]'"
        ) from None


# Sealed texts


def is_sealed(text: object) -> bool:
    """Return whether *text* is a sealed text."""
    return isinstance(text, bytes) and text[:1] == SEALED


def prefix_of(key_id: str) -> bytes:
    """Return the first `PREFIX_BYTES` bytes of every text that the key has sealed."""
    return SEALED + bytes.fromhex(key_id)


def key_id_of(text: bytes) -> str:
    """Return the id of the key that sealed *text*."""
    return text[1:PREFIX_BYTES].hex()


class Cipher:
    """Seals texts with the first key of a ring, and opens those of all its keys.

    Use each in one thread and one process: a fork shares the salt of its parent.

    Attributes:
        key_id: the id of the key that seals.
    """

    def __init__(self, ring: KeyRing) -> None:
        # Imported here, so that a ring can be made, and described, without loading OpenSSL.
        from cryptography.exceptions import InvalidTag

        self._wrong_tag_error = InvalidTag
        self.key_id = ring.ids[0]
        self._secrets = ring.secrets
        self._data_keys: dict[bytes, AESGCM] = {}
        self._start_salt()

    def _start_salt(self) -> None:
        self._sealed = 0
        self._prefix = prefix_of(self.key_id) + os.urandom(_SALT_BYTES)
        self._encrypt = self._data_key(self._prefix).encrypt

    def has_key(self, key_id: str) -> bool:
        """Return whether texts of this key can be opened."""
        return key_id in self._secrets

    def seal(self, text: bytes, context: bytes) -> bytes:
        """Return *text* encrypted; the same *context* is needed to open it."""
        if self._sealed == _TEXTS_PER_SALT:
            self._start_salt()
        self._sealed += 1
        nonce = os.urandom(_NONCE_BYTES)
        head = self._prefix + nonce
        ciphertext: bytes = self._encrypt(nonce, text, head + context)
        return head + ciphertext

    def open(self, text: bytes, context: bytes) -> bytes:
        """Return the text that `seal` has sealed as *text*.

        Raises:
            DecodeError: *text* is damaged, was changed, was sealed with another context, or the
                ring does not have its key.
        """
        head, ciphertext = text[:_HEAD_BYTES], text[_HEAD_BYTES:]
        if not (is_sealed(text) and self.has_key(key_id_of(text))) or len(head) < _HEAD_BYTES:
            raise DecodeError("a sealed text is damaged, or of a key that is not in the ring")
        data_key = self._data_key(head[:-_NONCE_BYTES])
        try:
            opened: bytes = data_key.decrypt(head[-_NONCE_BYTES:], ciphertext, head + context)
        except self._wrong_tag_error:
            raise DecodeError("a sealed text was changed after it was encrypted") from None
        return opened

    def _data_key(self, prefix: bytes) -> AESGCM:
        """Return the AES key for a key of the ring and a salt, which *prefix* ends with."""
        data_key = self._data_keys.get(prefix)
        if data_key is None:
            if len(self._data_keys) >= _MAX_DATA_KEYS:
                self._data_keys.clear()
            data_key = _derive(self._secrets[key_id_of(prefix)], prefix[PREFIX_BYTES:])
            self._data_keys[prefix] = data_key
        return data_key


def _derive(secret: bytes, salt: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = b"anytrack_async: records of an outbox"
    return AESGCM(HKDF(SHA256(), _KEY_BYTES, salt, info).derive(secret))
