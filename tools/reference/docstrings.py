"""Docstrings as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

from griffe import Docstring, DocstringSectionKind

_TABLES = {
    DocstringSectionKind.attributes: "Attributes",
    DocstringSectionKind.parameters: "Arguments",
    DocstringSectionKind.raises: "Raises",
    DocstringSectionKind.returns: "Returns",
    DocstringSectionKind.yields: "Yields",
}


def to_markdown(thing: object) -> str:
    """Return the docstring of *thing*, its sections as lists."""
    parts = []
    for section in _sections(thing):
        if section.kind is DocstringSectionKind.text:
            parts.append(_inline(section.value))
        elif title := _TABLES.get(section.kind):
            parts.append(f"**{title}:**\n\n" + "\n".join(map(_item, section.value)))
    return "\n\n".join(parts)


def attributes(cls: type) -> Mapping[str, str]:
    """Return attribute → what the docstrings of *cls* and its bases say about it."""
    described: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for section in _sections(base) if base is not object else ():
            if section.kind is DocstringSectionKind.attributes:
                described |= {item.name: _inline(item.description) for item in section.value}
    return described


def _sections(thing: object) -> list:
    text = inspect.cleandoc(getattr(thing, "__doc__", None) or "")
    return Docstring(text, lineno=1).parse("google", warnings=False)


def _item(item: object) -> str:
    name = getattr(item, "name", "") or getattr(item, "annotation", "") or ""
    text = _inline(item.description).replace("\n", "\n  ")
    return f"- `{name}`: {text}" if name else f"- {text}"


def _inline(text: str) -> str:
    """Return *text* with literals in single backticks, as Markdown has them."""
    return re.sub(r"``(.+?)``", r"`\1`", text)
