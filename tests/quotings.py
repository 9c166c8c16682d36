"""The ways in which a service may quote a secret, shared by tests of several packages."""

from __future__ import annotations

import html
import json
import re
from base64 import b32encode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from urllib.parse import quote, unquote

SHOWN = 8  # characters of a secret in a row that count as a leak


def percent(text: str) -> str:
    """Each character percent-encoded."""
    return "".join(f"%{ord(char):02x}" for char in text)


def every_other(text: str, encode: Callable[[str], str]) -> str:
    """Each second character encoded."""
    return "".join(encode(char) if index % 2 else char for index, char in enumerate(text))


def quoted_printable(text: str) -> str:
    """Each character as in an e-mail."""
    return "".join(f"={ord(char):02X}" for char in text)


def json_escape(text: str) -> str:
    """Each character as JSON's escape."""
    return "".join(f"\\u{ord(char):04x}" for char in text)


def entities(text: str) -> str:
    """Each character as a decimal HTML entity."""
    return "".join(f"&#{ord(char)};" for char in text)


def base64(text: str) -> str:
    """The text as base64."""
    return b64encode(text.encode()).decode()


def fives(text: str) -> list[str]:
    """The text in parts of five characters."""
    return [text[start : start + 5] for start in range(0, len(text), 5)]


BETWEEN = {
    "spaces": " ",
    "tabs": "\t",
    "no-break spaces": "\xa0",
    "line separators": "\u2028",
    "quoted lines": "\n> ",
    "continued lines": "\\\n",
    "escaped line breaks": "\\r\\n",
    "line breaks of a URL": "%0D%0A",
    "line breaks of HTML": "<br />",
    "plus signs": "' + '",
}

QUOTINGS: dict[str, Callable[[str], str]] = {
    "literal": lambda secret: secret,
    "upper case": str.upper,
    "lower case": str.lower,
    "swapped case": str.swapcase,
    "bearer": lambda secret: f"Bearer {secret}",
    "twice": lambda secret: f"{secret}{secret}",
    "quoted": lambda secret: f"'{secret}', \"{secret}\"",
    "first half and more": lambda secret: secret[: max(8, len(secret) // 2)] + "...",
    "all but the last": lambda secret: secret[:-1],
    "all but the first": lambda secret: secret[1:],
    "last ten": lambda secret: "..." + secret[-10:],
    "the middle": lambda secret: secret[2:-2],
    "head and tail": lambda secret: f"{secret[:6]}…{secret[-4:]}",
    "starred": lambda secret: f"{secret[:8]}****{secret[-6:]}",
    "glued": lambda secret: f"key_{secret}_is_wrong",
    "glued to letters": lambda secret: f"x{secret}y",
    "glued by dots": lambda secret: f"auth.{secret}.invalid",
    "in a query": lambda secret: f"https://a.test/x?access_token={quote(secret, safe='')}&b=1",
    "in a path": lambda secret: f"/hooks/{secret}/send",
    "percent-encoded": percent,
    "percent-encoded in upper case": lambda secret: percent(secret).upper(),
    "percent-encoded in part": lambda secret: every_other(secret, percent),
    "percent-encoded twice": lambda secret: quote(percent(secret)),
    "javascript": lambda secret: "".join(f"\\x{ord(char):02X}" for char in secret),
    "json": json_escape,
    "json in json": lambda secret: json.dumps({"t": json_escape(secret)}),
    "json in part": lambda secret: every_other(secret, json_escape),
    "backslashes": lambda secret: re.sub(r"([^A-Za-z0-9])", r"\\\1", secret),
    "entities": entities,
    "hexadecimal entities": lambda secret: "".join(f"&#x{ord(char):X};" for char in secret),
    "entities in part": lambda secret: every_other(secret, entities),
    "entities without semicolons": lambda secret: "".join(f"&#{ord(c):05}" for c in secret),
    "named entities": lambda secret: secret.replace("_", "&lowbar;").replace("-", "&hyphen;"),
    "entities of entities": lambda secret: html.escape(entities(secret)),
    "base64": lambda secret: b64encode(secret.encode()).decode(),
    "basic": lambda secret: b64encode(f"user:{secret}".encode()).decode(),
    "basic, other length": lambda secret: b64encode(f"admin:{secret}".encode()).decode(),
    "basic, third length": lambda secret: b64encode(f"tools:x{secret}z".encode()).decode(),
    "base64 for URLs": lambda secret: urlsafe_b64encode(secret.encode()).decode().rstrip("="),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "on two lines": lambda secret: f"{secret[:7]}\r\n {secret[7:]}",
    "with soft hyphens": lambda secret: "\xad".join(secret),
    "octal": lambda secret: "".join(f"\\{ord(char):03o}" for char in secret),
    "python": lambda secret: "".join(f"\\U{ord(char):08x}" for char in secret),
    "javascript in braces": lambda secret: "".join(f"\\u{{{ord(char):x}}}" for char in secret),
    "percent-encoded three times": lambda secret: quote(quote(percent(secret))),
    "entities, percent-encoded": lambda secret: quote(entities(secret)),
    "quoted-printable": quoted_printable,
    "quoted-printable in lower case": lambda secret: quoted_printable(secret).lower(),
    "quoted-printable in part": lambda secret: every_other(secret, quoted_printable),
    "in a header of an e-mail": lambda secret: f"=?utf-8?Q?key={quoted_printable(secret)}?=",
    "value of a field": lambda secret: f"key={secret}",
    "cut at both ends, escaped": lambda secret: f"…{percent(secret[2:-2])}…",
    "word joiners": lambda secret: "\u2060".join(secret),
    "direction marks": lambda secret: "\u202e".join(secret) + "\u202c",
    "variation selectors": lambda secret: "\ufe0f".join(secret),
    "isolates and joiners": lambda secret: "\u2066\u034f".join(secret),
    "zero width": lambda secret: f"{secret[:5]}\u200b{secret[5:]}",
}


DISGUISES: dict[str, Callable[[str], str]] = {
    **{
        f"in fives between {name}": lambda secret, between=between: between.join(fives(secret))
        for name, between in BETWEEN.items()
    },
    "letter by letter": " ".join,
    "in bold letters": lambda secret: "".join(f"<b>{char}</b>" for char in secret),
    "with control characters": "\x1f".join,
    "struck out": "\u0336".join,
    "full width": lambda secret: "".join(chr(ord(char) + 0xFEE0) for char in secret),
    "a list of texts": lambda secret: json.dumps(fives(secret)),
    "bytes": lambda secret: secret.encode().hex(" "),
    "bytes with colons": lambda secret: secret.upper().encode().hex(":").upper(),
    "bytes in C": lambda secret: ", ".join(f"0x{byte:02X}" for byte in secret.encode()),
    "numbers of bytes": lambda secret: str([*secret.encode()]),
    "base64 of base64": lambda secret: base64(base64(secret)),
    "base64 of upper case": lambda secret: base64(secret.upper()),
    "base64 of a URL": lambda secret: base64(percent(secret)),
    "base64 in hexadecimal": lambda secret: base64(secret).encode().hex(),
    "hexadecimal of lower case": lambda secret: secret.lower().encode().hex(),
    "JSON in base64, percent-encoded": lambda secret: quote(base64(json.dumps([secret])), safe=""),
    "base32": lambda secret: b32encode(secret.encode()).decode(),
}
"""Ways that a service hardly uses, which are found in failures only."""


def leaks(output: str, secret: str) -> list[str]:
    """Return the parts of *secret*, in any form, that *output* shows."""
    in_mail = re.sub("(?i)=([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), output)
    plain = f"{decoded(output)}\n{decoded(in_mail)}"
    return [part for part in forbidden(secret) if part in plain]


def forbidden(secret: str) -> Iterator[str]:
    """Yield each part of *secret* that must not be shown, in lower case without escapes."""
    forms = [secret.lower(), secret.encode().hex()]
    for start in range(3):
        forms.append(b64encode(secret.encode()[start:]).decode().lower().rstrip("=")[:-1])
    for form in forms:
        yield from (form[start : start + SHOWN] for start in range(len(form) - SHOWN + 1))


def decoded(text: str) -> str:
    """Return *text* without escapes, however nested, in lower case."""
    before = ""
    while text != before:
        before = text
        text = html.unescape(unquote(text))
        text = re.sub(r"\\+(?:[uU]\{?0*|x)([0-9a-fA-F]{2})\}?", lambda m: chr(int(m[1], 16)), text)
        text = re.sub(r"\\+([01][0-7]{2})", lambda m: chr(int(m[1], 8)), text)
        text = re.sub(r"\\+([^\\\s\w]|_)", r"\1", text)
        text = re.sub("[\xad\u034f\u200b\u202c\u202e\u2060\u2066\ufe0f]|\r?\n ?", "", text)
    return text.replace("\u2010", "-").lower()
