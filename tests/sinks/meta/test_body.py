import hashlib
import hmac

import orjson

from anytrack_async.sinks.meta.body import in_pieces, request_body, request_tail


def test_body_is_json_with_the_events_in_order(settings):
    piece = [(0, b'{"a":1}'), (4, b'{"b":2}')]

    assert orjson.loads(request_body(piece, request_tail(settings(), "t"))) == {
        "data": [{"a": 1}, {"b": 2}]
    }


def test_body_holds_what_the_settings_say(settings):
    given = settings(app_secret="s3cret", test_event_code='T"1', partner_agent="shop-1.0")
    body = orjson.loads(request_body([(0, b"{}")], request_tail(given, "t0ken")))

    assert body == {
        "data": [{}],
        "test_event_code": 'T"1',
        "partner_agent": "shop-1.0",
        "appsecret_proof": hmac.new(b"s3cret", b"t0ken", hashlib.sha256).hexdigest(),
    }


def test_pieces_keep_within_the_bytes_and_lose_nothing():
    events = [(place, b"x" * length) for place, length in enumerate([3, 3, 9, 1, 1, 1, 1, 1])]
    pieces = list(in_pieces(events, 8))

    assert [len(piece) for piece in pieces] == [2, 1, 4, 1]
    assert [event for piece in pieces for event in piece] == events


def test_nothing_makes_no_piece():
    assert list(in_pieces([], 8)) == []
