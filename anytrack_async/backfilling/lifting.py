"""Click ids in the free text of an order: notes, attributes of a cart, metadata, links."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

_LINE = re.compile(r"^\s*\"?([\w .-]{1,40}?)\"?\s*[:=]\s*\"?(.+?)\"?,?\s*$")
_KEY_SIGNS = re.compile(r"[\W_]+")

FIELDS: Final[Mapping[str, str]] = {
    "atclid": "click_id",
    "clickid": "click_id",
    "anytrackclickid": "click_id",
    "fbclid": "customer.fbclid",
    "fbc": "customer.fbc",
    "fbp": "customer.fbp",
    "gclid": "clicks.gclid",
    "gbraid": "clicks.gbraid",
    "wbraid": "clicks.wbraid",
    "msclkid": "clicks.msclkid",
    "ttclid": "clicks.ttclid",
}
"""Name of a click id, without signs → the field that it belongs to."""


def field_of(key: str) -> str | None:
    """Return the field for the click id *key*: ``_fbp`` and ``FBP`` are ``customer.fbp``."""
    return FIELDS.get(_KEY_SIGNS.sub("", key).lower())


def lift(cells: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Return field → click id, from the *cells*, each with the name of its column.

    A cell of the column ``fbclid`` is that id. Other cells have lines such as ``fbclid: AbC`` or
    ``_fbp=fb.1.…``, or links with parameters. The first one counts.
    """
    ids: dict[str, str] = {}
    for name, cell in cells:
        if not isinstance(cell, str):
            continue
        if field := field_of(name):
            _keep(ids, field, cell)
            continue
        for line in cell.splitlines():
            _lift_line(ids, line)
    return ids


def _lift_line(ids: dict[str, str], line: str) -> None:
    if match := _LINE.match(line):
        key, value = match.groups()
        if field := field_of(key):
            _keep(ids, field, value)
            return
    for word in line.split():
        if "?" in word and "=" in word:
            _lift_link(ids, word)


def _lift_link(ids: dict[str, str], link: str) -> None:
    try:
        query = urlsplit(link).query
    except ValueError:  # half of an IPv6 address, for example
        return
    for key, value in parse_qsl(query):
        if field := field_of(key):
            _keep(ids, field, value)


def _keep(ids: dict[str, str], field: str, value: str) -> None:
    if value := value.strip():
        ids.setdefault(field, value)
