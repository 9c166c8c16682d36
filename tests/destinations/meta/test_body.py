import hashlib
import hmac

import orjson

from anytrack_async.destinations.meta.body import Chunk, in_pieces, request_body, request_tail


def test_body_is_json_with_the_events_in_order(settings):
    piece = [Chunk.of({0: {"a": 1}, 1: {"b": 2}}), Chunk.of({4: {"c": 3}})]

    assert [tuple(chunk.places) for chunk in piece] == [(0, 1), (4,)]
    assert orjson.loads(request_body(piece, request_tail(settings(), "t"))) == {
        "data": [{"a": 1}, {"b": 2}, {"c": 3}]
    }


def test_body_holds_what_the_settings_say(settings):
    given = settings(app_secret="s3cret", test_event_code='T"1', partner_agent="shop-1.0")
    body = orjson.loads(request_body([Chunk.of({0: {}})], request_tail(given, "t0ken")))

    assert body == {
        "data": [{}],
        "test_event_code": 'T"1',
        "partner_agent": "shop-1.0",
        "appsecret_proof": hmac.new(b"s3cret", b"t0ken", hashlib.sha256).hexdigest(),
    }


def test_pieces_keep_within_the_bytes_and_lose_nothing():
    chunks = [Chunk((place,), b"x" * size) for place, size in enumerate([3, 3, 9, 1, 1, 1, 1, 1])]
    pieces = list(in_pieces(chunks, 8))

    assert [len(piece) for piece in pieces] == [2, 1, 4, 1]
    assert [chunk for piece in pieces for chunk in piece] == chunks


def test_nothing_makes_no_piece():
    assert list(in_pieces([], 8)) == []
