"""Key rings and sealed texts: exact, bound to their context, and silent about the keys."""

import base64
import builtins
import os
import pickle
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytrack_async.codec import encryption
from anytrack_async.codec.encryption import Cipher, KeyRing, key_id_of, new_key, prefix_of
from anytrack_async.codec.storage import decode, encode
from anytrack_async.errors import ConfigurationError, DecodeError
from tests.examples import examples
from tests.models.strategies import conversions

pytest.importorskip("cryptography")

OLD = "6eb17cd4:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
NEW = "f502aee6:MjM0NTY3ODk6Ozw9Pj9AQUJDREVGR0hJSktMTU5PUFE"
CIPHER = Cipher(KeyRing([NEW, OLD]))


@given(st.binary(max_size=300), st.binary(max_size=30))
def test_opening_returns_what_was_sealed(text, context):
    sealed = CIPHER.seal(text, context)

    assert CIPHER.open(sealed, context) == text
    assert Cipher(KeyRing([OLD, NEW])).open(sealed, context) == text


@given(conversions)
@settings(max_examples=examples(30))
def test_a_conversion_survives_the_round_trip(conversion):
    payload, digest = encode(conversion)
    opened = CIPHER.open(CIPHER.seal(payload, b"id"), b"id")

    assert decode(opened, digest) == conversion


@given(st.data())
def test_a_changed_byte_is_noticed(data):
    sealed = bytearray(CIPHER.seal(b"jane@example.com", b"id"))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= data.draw(st.integers(1, 255))

    with pytest.raises(DecodeError):
        CIPHER.open(bytes(sealed), b"id")


@given(st.binary(max_size=80))
def test_anything_else_is_refused(text):
    for content in (text, prefix_of(CIPHER.key_id) + text):
        with pytest.raises(DecodeError):
            CIPHER.open(content, b"id")


def test_a_text_belongs_to_its_context():
    with pytest.raises(DecodeError):
        CIPHER.open(CIPHER.seal(b"text", b"sale:1"), b"sale:2")


def test_equal_texts_differ_when_they_are_sealed():
    assert len({CIPHER.seal(b"text", b"id") for _ in range(100)}) == 100


def test_a_sealed_text_names_its_key():
    assert key_id_of(CIPHER.seal(b"text", b"")) == NEW[:8] == CIPHER.key_id


def test_a_data_key_seals_a_limited_number_of_texts(monkeypatch):
    monkeypatch.setattr(encryption, "_TEXTS_PER_SALT", 3)
    cipher = Cipher(KeyRing(NEW))
    sealed = [cipher.seal(b"text", b"") for _ in range(9)]

    salts = [text[5:21] for text in sealed]
    assert [salts.index(salt) for salt in salts] == [0, 0, 0, 3, 3, 3, 6, 6, 6]
    assert all(cipher.open(text, b"") == b"text" for text in sealed)


def test_each_cipher_has_a_data_key_of_its_own():
    assert Cipher(KeyRing(NEW)).seal(b"", b"")[:21] != Cipher(KeyRing(NEW)).seal(b"", b"")[:21]


def test_few_data_keys_are_kept(monkeypatch):
    monkeypatch.setattr(encryption, "_MAX_DATA_KEYS", 2)
    cipher = Cipher(KeyRing(NEW))
    sealed = [Cipher(KeyRing(NEW)).seal(b"text", b"") for _ in range(5)]

    assert all(cipher.open(text, b"") == b"text" for text in sealed + sealed)
    assert len(cipher._data_keys) <= 2


# Key rings


def test_a_key_may_be_written_in_several_ways():
    secret = os.urandom(32)
    with_plus = base64.b64encode(secret).decode()
    with_minus = base64.urlsafe_b64encode(secret).decode().rstrip("=")
    (key_id,) = KeyRing([secret]).ids

    for text in (with_plus, with_minus, f"{key_id}:{with_minus}", f"  {key_id}:{with_plus}\n"):
        assert KeyRing(text).ids == KeyRing([text]).ids == (key_id,)


def test_a_text_may_have_several_keys():
    assert KeyRing(f"{NEW}, {OLD}").ids == (NEW[:8], OLD[:8])


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("", "key 1 of the ring is not a key"),
        ([], "must have at least one key"),
        (f"{NEW},", "key 2 of the ring is not a key"),
        (f"{NEW},{NEW[9:]}", f"{NEW[:8]} is in the ring twice"),
        (NEW[:-5], "key 1 of the ring is not a key"),
        (NEW[9:] + "é", "key 1 of the ring is not a key"),
        (NEW[:9] + OLD[9:], "does not match the id in front of it"),
        ([b"short"], "must have 32 bytes, got 5"),
        ([None], "must be text or 32 bytes, got NoneType"),
    ],
)
def test_a_wrong_ring_is_an_error_that_shows_no_key(keys, problem):
    with pytest.raises(ConfigurationError, match=problem) as caught:
        KeyRing(keys)

    shown = "".join(traceback.format_exception(caught.value, chain=True))
    assert NEW[9:20] not in shown
    assert OLD[9:20] not in shown


def test_a_ring_shows_the_ids_of_its_keys_only():
    ring = KeyRing([NEW, OLD])

    assert repr(ring) == str(ring) == f"<KeyRing: {NEW[:8]}, {OLD[:8]}>"


def test_a_ring_goes_to_another_process():
    assert pickle.loads(pickle.dumps(KeyRing([NEW, OLD]))).ids == (NEW[:8], OLD[:8])


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without_cryptography(name, *args, **kwargs):
        if name.split(".")[0] == "cryptography":
            raise ImportError(name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_cryptography)

    with pytest.raises(ConfigurationError, match=r"pip install 'anytrack_async\[encryption\]'"):
        KeyRing(NEW)
    assert new_key()  # needs no extra
