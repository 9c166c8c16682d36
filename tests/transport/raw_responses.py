"""Responses as bytes, by name: unusual ones, ones with a surplus, and ones to refuse."""

from __future__ import annotations

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = b"Content-Length: 2\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MANY_HEADERS = b"".join(b"X-%d: a\r\n" % number for number in range(300))

ACCEPTED = {
    # name → (response, whether the connection is used again)
    "header names in lower case": (OK + SIZED.lower() + b"\r\n{}", True),
    "header names in upper case": (OK + SIZED.upper() + b"\r\n{}", True),
    "no reason": (b"HTTP/1.1 200\r\n" + SIZED + b"\r\n{}", True),
    "line feeds alone": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", True),
    "whitespace around a value": (OK + b"Content-Length:\t2 \t\r\n\r\n{}", True),
    "zeros before a length": (OK + b"Content-Length: 0002\r\n\r\n{}", True),
    "bytes above 127 in a header": (OK + SIZED + b"X: \xe9\xff\r\n\r\n{}", True),
    "300 headers": (OK + MANY_HEADERS + SIZED + b"\r\n{}", True),
    "the same header twice": (OK + SIZED + b"Server: a\r\nServer: b\r\n\r\n{}", True),
    "30 informational responses": (b"HTTP/1.1 102 W\r\n\r\n" * 30 + OK + SIZED + b"\r\n{}", True),
    "an unknown status": (b"HTTP/1.1 999 Odd\r\n" + SIZED + b"\r\n{}", True),
    "an upgrade that is offered": (OK + SIZED + b"Upgrade: h2c\r\n\r\n{}", True),
    "chunks in upper case": (OK + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n2\r\n{}\r\n0\r\n\r\n", True),
    "chunk extensions": (CHUNKED + b'2;a="b";; c\r\n{}\r\n0;x\r\n\r\n', True),
    "spaces after a chunk's size": (CHUNKED + b"02  \r\n{}\r\n0\r\n\r\n", True),
    "chunks of one byte": (CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", True),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\nX-A: b\r\nno trailer\r\n\r\n", True),
    "an empty response": (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    "a folded header": (OK + b"X: a\r\n b\r\n\tc\r\nContent-Length:\r\n 2\r\n\r\n{}", True),
    "the same length twice": (OK + SIZED * 2 + b"\r\n{}", True),
    "the same length in a list": (OK + b"Content-Length: 2, 2\r\n\r\n{}", True),
    "no headers": (b"HTTP/1.1 200 OK\r\n\r\n{}", False),
    "no length": (OK + b"Content-Type: a/b\r\n\r\n{}", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + SIZED + b"\r\n{}", False),
    "HTTP/1.0 without length": (b"HTTP/1.0 200 OK\r\n\r\n{}", False),
}
SURPLUS = {
    "another response": (OK + SIZED + b"\r\n{}") * 2,
    "bytes that are not HTTP": OK + SIZED + b"\r\n{}garbage\x00\xff",
    "an empty line": OK + SIZED + b"\r\n{}\r\n",
    "bytes behind chunks": CHUNKED + b"2\r\n{}\r\n0\r\n\r\ngarbage",
    "a body after 204": b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}",
    "chunks after 204": b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
EMPTY = frozenset(("an empty response", "a body after 204", "chunks after 204"))

REFUSED = {
    "two lengths": OK + SIZED + b"Content-Length: 3\r\n\r\n{}x",
    "two lengths in a list": OK + b"Content-Length: 2, 3\r\n\r\n{}x",
    "a length with a plus": OK + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": OK + b"Content-Length: -2\r\n\r\n{}",
    "a length of 5,000 digits": OK + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n{}",
    "an empty length": OK + b"Content-Length:\r\n\r\n{}",
    "an unknown transfer coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n{}",
    "a chunk's size that is no number": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "a chunk that is too long": CHUNKED + b"2\r\n{}XX0\r\n\r\n",
    "no last chunk": CHUNKED + b"2\r\n{}\r\n",
    "no end of the last chunk": CHUNKED + b"2\r\n{}\r\n0\r\n",
    "a body that is cut off": OK + b"Content-Length: 3\r\n\r\n{}",
    "a header without colon": OK + SIZED + b"X\r\n\r\n{}",
    "a space before a colon": OK + b"Content-Length : 2\r\n\r\n{}",
    "a header without name": OK + SIZED + b": x\r\n\r\n{}",
    "a null byte in a header": OK + SIZED + b"X: a\x00b\r\n\r\n{}",
    "a carriage return in a header": OK + SIZED + b"X: a\rb\r\n\r\n{}",
    "a switch of protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 Odd\r\n" + SIZED + b"\r\n{}",
    "a status of four digits": b"HTTP/1.1 2000 Odd\r\n" + SIZED + b"\r\n{}",
    "an empty line before the response": b"\r\n" + OK + SIZED + b"\r\n{}",
}
