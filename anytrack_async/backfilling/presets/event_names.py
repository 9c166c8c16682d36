"""The type of a conversion, from the name that an advertising service has for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import ConversionType

_NAME_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_TYPES: Final = {
    **dict.fromkeys(("purchase", "sale", "sales", "order", "rebill", "upsell"), "sale"),
    **dict.fromkeys(("lead", "leads"), "lead"),
    **dict.fromkeys(("signup", "registration", "register"), "signup"),
}


def type_of(name: str) -> ConversionType | None:
    """Return the type that a word in *name* states; None if none does.

    ``Purchase`` and ``Offline sale`` are sales, ``GenerateLead`` is a lead,
    ``CompleteRegistration`` and ``Sign-up`` are sign-ups.
    """
    words = [word.lower() for word in _NAME_WORDS.findall(name)]
    pairs = [first + second for first, second in pairwise(words)]
    types = (_TYPES[word] for word in (*words, *pairs) if word in _TYPES)
    kind = next(types, None)
    return ConversionType(kind) if kind else None


def add_type(fields: dict[str, Any], _: Callable[[str], Any]) -> None:
    """Replace the name of the conversion, in ``conversion_type``, by its type.

    A name without a word for a type becomes a custom event of that name. Used as
    `FileMapping.finish`.

    Raises:
        InvalidConversionError: it is a sale without an amount.
    """
    name = str(fields["conversion_type"]).strip()
    kind = type_of(name)
    if kind is None:
        fields["conversion_type"] = ConversionType.CUSTOM
        fields.setdefault("event_name", name)
        return
    fields["conversion_type"] = kind
    if kind is ConversionType.SALE and "revenue" not in fields:
        raise InvalidConversionError("revenue", "is missing: the row has no amount")
