from __future__ import annotations

from anytrack_async.transport.message import Request

REQUEST = Request("meta", "POST", "https://a.test/me?q=secret", {"Token": "secret"}, b"secret")


def test_the_repr_of_a_request_shows_nothing_that_may_be_secret():
    assert "secret" not in repr(REQUEST)
    assert "meta" in repr(REQUEST)


def test_an_answer_knows_what_was_sent_and_who_said_it():
    answer = REQUEST.answered(200, {}, b"ok")

    assert (answer.sent, answer.service, answer.content) == (b"secret", "meta", b"ok")
    assert "secret" not in repr(answer)
    assert REQUEST._replace(content=None).answered(200, {}, b"").sent == b""
