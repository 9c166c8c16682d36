"""`Secrets`: hides a session's tokens and passwords wherever a service quotes them.

A service may quote the credentials of a request in its answer: in full or cut
(``sk_live_4fQ9...``), in another case, escaped for a URL, for HTML or as JSON, more than once, as
base64 or in hexadecimal digits, next to any other character, and in any field. So all of an answer
is searched, before any other code reads it.

Text is searched without its escapes, in lower case, for any eight characters in a row that a secret
has as well. For the secret ``sk_live_4fQ9zX2b`` these are ``sk_live_``, ``k_live_4``, ``_live_4f``
and so on. ``key=%73k_live_4FQ9zX is wrong`` without escapes is ``key=sk_live_4fq9zx is wrong``,
where seven of them follow each other, so it becomes ``key=*** is wrong``. Fewer characters, from
four, count at an ellipsis: ``...zX2b``.

Text of an error is searched in two more ways, see `secret_disguises`: with something between the
characters of a secret, such as spaces or line breaks, and encoded more than once.

Speed: 0.1 µs for each character of an answer that is searched. A success is searched only if it has
an escape, a character that is not ASCII, or a sample of a secret: the
beginning, the end, one of two parts in between, or the middle of its base64 or hexadecimal form. To
find out takes 1 µs for each secret, and less for up to 256 bytes. Of more than 128 KB nothing is
searched but what is logged.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Final

import httpx

from anytrack_async.transport.message import Response, parse_reply
from anytrack_async.transport.secret_disguises import Spread, encoded_spans

MASK: Final = "***"

_WINDOW: Final = 8  # characters
_SHORTEST: Final = 6  # characters of a secret; it needs a digit if it is shorter than a window
_SHORTEST_CUT: Final = 4  # characters beside an ellipsis
_MAX_SECRETS: Final = 12
_MAX_SEARCHED: Final = 32_768  # characters of an error's body, which take 3 ms at most
_MAX_TEXT: Final = 8_192  # characters of one text in it
_MAX_TINY: Final = 256  # bytes for which one expression with all samples is faster than each alone
_MAX_SHORT: Final = 4_096  # bytes
_MAX_SUCCESS: Final = 131_072  # bytes; a longer list of records would block the event loop
_MAX_NESTING: Final = 5  # of escapes
_MAX_DEPTH: Final = 64  # of JSON

_ESCAPES = r"""
      %(?:u00)?([0-9a-f]{2})                        # in a URL: %5f
    | \\{1,8}(?:u\{?0{0,6}|x)([0-9a-f]{2})\}?       # in JSON, JavaScript or Python: \u005f, \x5f
    | \\{1,8}([01][0-7]{2})                         # in C or a shell: \137
    | \\{1,8}([^\\\sa-z0-9])                        # a backslash before punctuation: \/
    | (&(?:\#x?0{0,5}[0-9a-f]{2,4};?|[a-z]{2,20};)) # in HTML: &#95; &#x5f; &lowbar;
    | =?\r?\n[ \t]{0,8}                             # a line break
    | [\xad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f]  # invisible
    | [\ufe00-\ufe0f\ufeff\x00-\x08]
    """
_ESCAPE = re.compile(_ESCAPES, re.VERBOSE | re.IGNORECASE)
# In an e-mail: =5f. Looked for in addition, because a value may follow the sign of equality in
# ``key=5fQ9…`` too.
_QUOTED_PRINTABLE = re.compile("=[0-9a-f]{2}", re.IGNORECASE)
_QUOTED_PRINTABLE_BYTES = re.compile(b"=[0-9A-Fa-f]{2}")
_ESCAPE_IN_MAIL = re.compile(f"{_ESCAPES} | =([0-9a-f]{{2}})", re.VERBOSE | re.IGNORECASE)
# As `str.lower`, but it never changes the length; `&hyphen;` is no ASCII hyphen.
_FULL_WIDTH = {0xFEE0 + code: code for code in range(0x21, 0x7F)}  # ｓｋ＿ｌｉｖｅ
_LOWER = str.maketrans(ascii_uppercase + "\u2010", ascii_lowercase + "-")
_LOWER |= {wide: ord(chr(code).lower()) for wide, code in _FULL_WIDTH.items()}
# Turns a success into lower case, and "&", backslashes, "=" and what is not ASCII into "%".
_PLAIN = bytes(range(128)).lower().translate(bytes.maketrans(b"&\\=", b"%%%")) + b"%" * 128
_ELLIPSIS = r"(?:\.\.|…|[*•])"


class Secrets:
    """The secrets of one session, the latest twelve.

    A secret of fewer than six characters, or of six or seven without a digit, is not hidden: it may
    be an ordinary word.
    """

    def __init__(self) -> None:
        self._values: dict[str, None] = {}  # the latest is the last
        self._samples: tuple[bytes, ...] = ()
        self._suspicious = _pattern_of_any(b"%")
        self._finder: _Finder | None = None

    def add(self, *values: str | None) -> None:
        """Hide *values* from now on, and the ones before them."""
        hideable = [value for value in values if value and _is_hideable(value)]
        has_new = not self._values.keys() >= set(hideable)
        for value in hideable:
            self._values.pop(value, None)
            self._values[value] = None
        if has_new:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._values) > _MAX_SECRETS:
            del self._values[next(iter(self._values))]
        samples = (sample for value in self._values for sample in _samples(value))
        # "a=b" and "a&b" are one sample, which finds both.
        self._samples = tuple({sample.translate(_PLAIN): None for sample in samples})
        self._suspicious = _pattern_of_any(b"%", *self._samples)
        self._finder = None

    def mask(self, text: str) -> str:
        """Return *text* with ``***`` in place of each quoted secret or part of one."""
        spans = self._find(text)
        return _replace(text, spans) if spans else text

    def quoted_by(self, exc: BaseException | None) -> bool:
        """Return whether *exc*, or one of its causes, quotes a secret."""
        while exc is not None:
            if self._find(str(exc)):
                return True
            exc = exc.__cause__ or exc.__context__
        return False

    def mask_json(self, value: Any) -> Any:
        """Return *value*, as JSON has it, without the secrets that its texts and numbers quote.

        Of each text 8,192 characters are kept, and 32,768 of all of them.
        """
        return _JsonMask(self).apply(value)

    def mask_success(self, response: Response) -> Response:
        """Return *response*, a 2xx, without the secrets that it quotes; see the speed above."""
        content = response.content
        if len(content) <= _MAX_TINY and not self._suspicious.search(content.translate(_PLAIN)):
            return response  # nearly always
        if len(content) > _MAX_SUCCESS or not self._may_be_quoted(content):
            return response
        return response._replace(content=self._mask_success_content(content))

    def _may_be_quoted(self, content: bytes) -> bool:
        if len(content) <= _MAX_SHORT and _may_be_escaped(content):
            return True
        plain = content.translate(_PLAIN)
        return any(sample in plain for sample in self._samples)

    def mask_response(self, response: Response) -> Response:
        """Return *response* without the secrets that its headers and its body quote.

        JSON stays JSON. Of each text 8,192 characters are kept, and 32,768 of all of them.
        """
        headers = response.headers
        masked = {name: self.mask(value) for name, value in headers.items()}
        if any(masked[name] != value for name, value in headers.items()):
            headers = httpx.Headers(masked)
        return response._replace(headers=headers, content=self._mask_content(response.content))

    def _mask_success_content(self, content: bytes) -> bytes:
        if len(content) <= _MAX_SHORT:
            return self._mask_content(content)
        # A long one is a list of records, which must not be cut.
        pattern = "|".join(map(re.escape, self._values))
        return re.sub(pattern.encode(), MASK.encode(), content, flags=re.IGNORECASE)

    def _mask_content(self, content: bytes) -> bytes:
        mask = _JsonMask(self)
        try:
            body = mask.apply(parse_reply(content))
            return json.dumps(body).encode() if mask.changed else content
        except ValueError:  # not JSON
            text = mask.apply(content.decode(errors="replace"))
            return str(text).encode() if mask.changed else content

    def _find(self, text: str) -> Sequence[tuple[int, int]]:
        if len(text) < _SHORTEST_CUT or not self._values:
            return ()
        if self._finder is None:
            self._finder = _Finder(self._values)
        return self._finder.find(text)


def _pattern_of_any(*texts: bytes) -> re.Pattern[bytes]:
    return re.compile(b"|".join(map(re.escape, texts)))


def _may_be_escaped(content: bytes) -> bool:
    # Soft hyphens and other invisible characters, too, may stand between those of a secret.
    escaped = b"%" in content or b"&" in content or b"\\" in content
    return escaped or not content.isascii() or bool(_QUOTED_PRINTABLE_BYTES.search(content))


def _samples(value: str) -> Iterator[bytes]:
    # Of 16 characters those from 0, 2, 5 and 8 on: a quote of 11 has one of them in it.
    # Of the other forms the middle: they are hardly ever cut.
    plain, *forms = map(str.encode, _forms(value))
    for part in range(4):
        start = part * max(len(plain) - _WINDOW, 0) // 3
        yield plain[start : start + _WINDOW]
    for form in forms:
        start = max(len(form) - _WINDOW, 0) // 2
        yield form[start : start + _WINDOW]


def _is_hideable(value: str) -> bool:
    return len(value) >= _WINDOW or (len(value) >= _SHORTEST and any(map(str.isdigit, value)))


class _Finder:
    """Finds the parts of a text that are quotes of *values*."""

    def __init__(self, values: Iterable[str]) -> None:
        self._windows: dict[int, set[str]] = {}
        self._spread = Spread(values)
        heads: set[str] = set()
        tails: set[str] = set()
        characters: set[str] = set()
        for value in values:
            for form in _forms(value):
                characters.update(form)
                size = min(len(form), _WINDOW)
                windows = self._windows.setdefault(size, set())
                windows.update(form[start : start + size] for start in range(len(form) - size + 1))
            lower = value.translate(_LOWER)
            heads |= {lower[:size] for size in range(_SHORTEST_CUT, _WINDOW)}
            tails |= {lower[-size:] for size in range(_SHORTEST_CUT, _WINDOW)}
        # Only words of a secret's characters are looked at, a quarter of the usual message.
        self._words = re.compile(f"[{re.escape(''.join(characters))}]{{{_SHORTEST},}}")
        self._cut = re.compile(
            rf"({_alternatives(heads)})\s?{_ELLIPSIS}|{_ELLIPSIS}\s?({_alternatives(tails)})"
        )

    def find(self, text: str) -> list[tuple[int, int]]:
        """Return start and end of each quote in *text*, in order, apart from each other."""
        spans = self._plain_spans(text)
        resolved, starts = _resolve_all(text, _ESCAPE)
        disguised = self._spread.find(resolved.translate(_LOWER))
        disguised += encoded_spans(resolved, lambda part: bool(self._plain_spans(part)))
        spans += [(starts[start], starts[end]) for start, end in disguised]
        return _merged(spans)

    def _plain_spans(self, text: str) -> list[tuple[int, int]]:
        spans = self._spans(text, _ESCAPE)
        if _QUOTED_PRINTABLE.search(text):
            spans += self._spans(text, _ESCAPE_IN_MAIL)
        return spans

    def _spans(self, text: str, escape: re.Pattern[str]) -> list[tuple[int, int]]:
        plain, starts = _without_escapes(text, escape)
        spans = [
            (start, start + size)
            for word in self._words.finditer(plain)
            for size, windows in self._windows.items()
            for start in range(word.start(), word.end() - size + 1)
            if plain[start : start + size] in windows
        ]
        spans += (match.span(match.lastindex or 0) for match in self._cut.finditer(plain))
        return [(starts[start], starts[end]) for start, end in spans]


def _alternatives(texts: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))


def _forms(value: str) -> Iterator[str]:
    """Yield *value* in each form that has no escapes, in lower case."""
    yield value.translate(_LOWER)
    yield _without_escapes(value)[0]
    content = value.encode()
    yield content.hex()
    for form in _base64_forms(content):
        yield form.translate(_LOWER)
        yield form.translate(_LOWER | str.maketrans("+/", "-_"))


def _base64_forms(content: bytes) -> Iterator[str]:
    """Yield *content* as base64, as it looks behind 0, 1 and 2 other bytes (modulo 3).

    Behind the one byte of ``:``, the first two digits also depend on that byte, and are left out;
    so is a last digit that depends on the bytes behind *content*.
    """
    for before, dependent in ((0, 0), (1, 2), (2, 3)):
        encoded = b64encode(bytes(before) + content).decode()
        digits = encoded.rstrip("=")
        yield digits[dependent : len(digits) - (digits != encoded)]


def _without_escapes(text: str, escape: re.Pattern[str] = _ESCAPE) -> tuple[str, Sequence[int]]:
    """Return *text* in lower case without escapes, and where in *text* each character comes from.

    ``a%5Fb`` becomes ``a_b`` and 0, 1, 4, 5; the last number is the end of the text. Escapes within
    escapes (``%255F``) are resolved to a depth of five.
    """
    text, starts = _resolve_all(text, escape)
    return text.translate(_LOWER), starts


def _resolve_all(text: str, escape: re.Pattern[str]) -> tuple[str, Sequence[int]]:
    starts: Sequence[int] = range(len(text) + 1)
    for _ in range(_MAX_NESTING):
        if not escape.search(text):
            break
        text, starts = _resolve_escapes(text, starts, escape)
    return text, starts


def _resolve_escapes(
    text: str, starts: Sequence[int], escape: re.Pattern[str]
) -> tuple[str, Sequence[int]]:
    pieces: list[str] = []
    origins: list[int] = []
    position = 0
    for match in escape.finditer(text):
        start, end = match.span()
        resolved = _resolved(match)
        pieces += (text[position:start], resolved)
        origins += starts[position:start]
        origins += [starts[start]] * len(resolved)
        position = end
    pieces.append(text[position:])
    origins += starts[position:]
    return "".join(pieces), origins


def _resolved(match: re.Match[str]) -> str:
    # The groups are those of `_ESCAPES`; only the pattern for e-mails has a sixth.
    digits = match[1] or match[2] or (match[6] if match.re.groups > 5 else None)
    if digits:
        return chr(int(digits, 16))
    if match[3]:
        return chr(int(match[3], 8))
    return html.unescape(match[5]) if match[5] else match[4] or ""


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    # (0, 8), (1, 9) and (20, 28) become (0, 9) and (20, 28).
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _replace(text: str, spans: Iterable[tuple[int, int]]) -> str:
    pieces: list[str] = []
    position = 0
    for start, end in spans:
        pieces += (text[position:start], MASK)
        position = end
    return "".join([*pieces, text[position:]])


class _JsonMask:
    """Masks one JSON value.

    Attributes:
        changed: whether it contained a secret, or was too long.
    """

    def __init__(self, secrets: Secrets) -> None:
        self.changed = False
        self._secrets = secrets
        self._remaining = _MAX_SEARCHED

    def apply(self, value: Any, levels: int = _MAX_DEPTH) -> Any:
        """Return *value* without secrets, and without what is below *levels* of nesting."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict | list) and not levels:
            self.changed = True
            return None
        if isinstance(value, dict):
            return {self._text(name): self.apply(item, levels - 1) for name, item in value.items()}
        if isinstance(value, list):
            return [self.apply(item, levels - 1) for item in value]
        return self._number(value) if type(value) in (int, float) else value

    def _number(self, value: float) -> Any:
        digits = str(value)
        return value if self._text(digits) == digits else MASK

    def _text(self, text: str) -> str:
        searched = text[: min(self._remaining, _MAX_TEXT)]
        self._remaining -= len(searched)
        masked = self._secrets.mask(searched)
        if len(searched) < len(text):
            masked += MASK
        if masked != text:
            self.changed = True
        return masked
