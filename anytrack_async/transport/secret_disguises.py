"""Secrets that are quoted with something between their characters, or encoded more than once.

`Spread` finds ``sk_l ive_ 4fQ9`` and ``73:6b:5f:6c``: it compares letters and digits only.
`encoded_spans` finds base64 of base64 and the like: it decodes each long word, and the decoded text
is searched as well.
"""

from __future__ import annotations

import re
from base64 import b32decode, b64decode
from binascii import Error
from collections.abc import Callable, Iterable, Iterator, Sequence

_WINDOW = 10
"""Letters and digits in a row that count as a quote. Of eight, two words of a message would more
often make one of a secret that consists of words."""

_SAMPLE = 8
_MAX_LEVELS = 3  # of encoding

_LETTERS = re.compile("[a-z0-9]+")
_FILLERS = r"""
      <[^<>]{0,60}>            # in HTML: sk_li<wbr>ve
    | \x1b\[[0-9;]{0,9}m       # colours of a terminal
    | (?<![a-z0-9])0x          # in a list of bytes: 0x73, 0x6b
    """
_FILLER = re.compile(_FILLERS, re.VERBOSE)
_FILLER_WITH_ESCAPES = re.compile(rf"{_FILLERS} | \\{{1,8}}[nrtvf]", re.VERBOSE)
_WORD = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,6}")
_READABLE = re.compile(rb"[\t\r\n -~]{12,}")
_FROM_URL = str.maketrans("-_", "+/")


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _forms(value: str) -> Iterator[str]:
    """Yield the letters and digits of *value*, of its bytes, and of their numbers: 115, 107, 95."""
    yield "".join(_LETTERS.findall(value.lower()))
    for text in dict.fromkeys((value, value.lower(), value.upper())):
        yield text.encode().hex()
        yield "".join(map(str, text.encode()))


class Spread:
    """Finds secrets by their letters and digits, whatever stands between them.

    Args:
        values: the secrets.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._windows: dict[int, set[str]] = {}
        samples: dict[str, None] = {}
        for value in values:
            for form in filter(lambda form: len(form) >= _SAMPLE, _forms(value)):
                size = min(len(form), _WINDOW)
                windows = self._windows.setdefault(size, set())
                windows.update(form[start : start + size] for start in range(len(form) - size + 1))
                for part in range(4):
                    start = part * (len(form) - _SAMPLE) // 3
                    samples[form[start : start + _SAMPLE]] = None
        self._samples = tuple(samples)

    def find(self, text: str) -> list[tuple[int, int]]:
        """Return start and end of each window in *text*, which is in lower case."""
        # A line that ends with a backslash may go on with an n: as an escape it is skipped once.
        spans = self._find(_FILLER.sub(_blank, text))
        return spans + self._find(_FILLER_WITH_ESCAPES.sub(_blank, text)) if "\\" in text else spans

    def _find(self, text: str) -> list[tuple[int, int]]:
        letters = "".join(_LETTERS.findall(text))
        if not any(sample in letters for sample in self._samples):  # nearly always
            return []
        starts = [
            index for word in _LETTERS.finditer(text) for index in range(word.start(), word.end())
        ]
        return [
            (starts[start], starts[start + size - 1] + 1)
            for size, windows in self._windows.items()
            for start in range(len(letters) - size + 1)
            if letters[start : start + size] in windows
        ]


def encoded_spans(
    text: str, is_quoted: Callable[[str], bool], levels: int = _MAX_LEVELS
) -> list[tuple[int, int]]:
    """Return start and end of each word in *text* that is an encoded quote.

    Args:
        text: any text.
        is_quoted: whether a decoded text quotes a secret.
        levels: of encoding that are decoded.
    """
    return [
        word.span()
        for word in _WORD.finditer(text)
        if any(_quotes(decoded, is_quoted, levels) for decoded in _decodings(word[0]))
    ]


def _quotes(text: str, is_quoted: Callable[[str], bool], levels: int) -> bool:
    return is_quoted(text) or (levels > 1 and bool(encoded_spans(text, is_quoted, levels - 1)))


def _decodings(word: str) -> Iterator[str]:
    """Yield the readable parts of *word*, decoded in each way; what is not encoded has none."""
    digits = word.rstrip("=")
    attempts: Sequence[tuple[Callable[[str], bytes], int, int]] = (
        (lambda part: b64decode(part.translate(_FROM_URL)), 4, 4),
        (bytes.fromhex, 2, 2),
        (lambda part: b32decode(part, casefold=True), 8, 1),
    )
    for decode, unit, offsets in attempts:
        for offset in range(offsets):
            part = digits[offset:]
            if decode is not bytes.fromhex:
                part += "=" * (-len(part) % unit)
            try:
                decoded = decode(part[: len(part) // unit * unit])
            except (Error, ValueError):  # of another alphabet, or cut
                continue
            for readable in _READABLE.finditer(decoded):
                yield readable[0].decode()
