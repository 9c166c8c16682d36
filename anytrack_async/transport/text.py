"""`safe_text`: a service's own words, without a customer's data or a token in them."""

from __future__ import annotations

import re

MASK = "***"

_MASKED = re.compile(
    r"""
      (?<![^\s<>"'(),;:=])                             # an e-mail address
      [^\s<>"'(),;:=]* (?:@|%40) [^\s<>"'(),;]+
    | \bBearer\s+\S+                                  # a token, announced
    | (?<=\?) [^\s"'<>]+                              # the query of a URL
    | \b(?:\d{1,3}\.){3}\d{1,3}\b                     # an IPv4 address
    | \b(?:[0-9a-fA-F]{0,4}:){3,}[0-9a-fA-F]{0,4}\b   # an IPv6 address
    | \+?\d (?:[\s().\-/]{0,2}\d){6,}                 # a phone, card or account number
    | (?<![\w~+/=-])                                  # a token or a hash,
      (?![a-z]+(?:_[a-z0-9]{1,15})+(?![\w~+/=-]))     # but not the name of a field
      (?=[\w.~+/=-]*\d) [A-Za-z0-9_~+/=-]{20,}
    | [A-Za-z0-9+/=]{32,}                             # a token without a digit
    """,
    re.VERBOSE,
)
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")


def safe_text(text: str, longest: int = 200) -> str:
    """Return *text* on one line, masked and at most *longest* characters.

    E-mail addresses, IP addresses, numbers of seven digits or more, URL queries and what looks like
    a token become ``***``: services like to quote what they were sent.
    """
    line = _SPACE.sub(" ", text[: longest * 4]).strip()
    masked = _MASKED.sub(MASK, line)
    return masked if len(masked) <= longest else masked[: longest - 1] + "…"
