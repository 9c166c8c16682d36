from __future__ import annotations

import gzip

import httpx
import pytest

from anytrack_async.transport.unpack import unpacked


def test_what_came_plain_stays_as_it_is():
    content = b"{}"

    assert unpacked({}, content) is content


def test_compression_that_nobody_asked_for_is_undone():
    assert unpacked({"content-encoding": "gzip"}, gzip.compress(b"{}")) == b"{}"


def test_what_cannot_be_undone_is_an_error():
    with pytest.raises(httpx.DecodingError):
        unpacked({"content-encoding": "gzip"}, b"{}")
