"""The storage form through releases: new fields, and keys that a release does not know."""

from __future__ import annotations

import json
from hashlib import blake2b

import pytest

from anytrack_async.codec.storage import decode, encode
from anytrack_async.errors import DecodeError
from anytrack_async.models.consent import Consent
from anytrack_async.models.conversion import Conversion

# As the release before `clicks` and `consent` wrote it.
OLD = (
    b'{"v":1,"timestamp":"2026-11-27T18:00:00+00:00","content":{"conversion_type":"sale",'
    b'"revenue":"49.90","order_id":"1001","event_id":"sale:1001","click_id":"c",'
    b'"customer":{"email":["jane@x.example"]}}}'
)


def digest(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=16).digest()


def test_a_record_without_the_new_fields_is_readable():
    for conversion in (decode(OLD), decode(OLD, digest(OLD))):
        assert (conversion.clicks, conversion.consent) == ({}, None)
        assert conversion.order_id == "1001"


def test_fields_that_are_not_given_are_not_written():
    conversion = decode(OLD)

    assert json.loads(encode(conversion).payload) == json.loads(OLD)


def test_click_ids_and_consent_come_back_with_and_without_a_digest():
    sale = Conversion.sale(
        revenue=5,
        order_id="1",
        clicks={"gclid": "Cj0", "ScCid": "s"},
        consent=Consent(ad_storage=True, ad_user_data=False),
    )
    encoded = encode(sale)

    assert decode(encoded.payload) == decode(*encoded) == sale


def test_keys_that_this_release_does_not_know_are_ignored():
    record = json.loads(OLD)
    record["content"] |= {"later": [1], "clicks": {"gclid": "x"}}
    record["even_later"] = True
    payload = json.dumps(record).encode()

    for conversion in (decode(payload), decode(payload, digest(payload))):
        assert conversion.clicks == {"gclid": "x"}
        assert conversion.order_id == "1001"


def test_consent_that_this_release_does_not_know_is_damage_and_not_consent():
    payload = OLD.replace(b'"click_id":"c"', b'"consent":{"ad_user_data":"later"}')

    for damaged in ((payload,), (payload, digest(payload))):
        with pytest.raises(DecodeError, match=r"consent\.ad_user_data"):
            decode(*damaged)
