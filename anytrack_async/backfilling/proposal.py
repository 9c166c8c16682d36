"""The text of a proposed ``map.toml``: possible answers are comments in the fitting table."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs


@attrs.frozen(kw_only=True)
class Question:
    """Something that only the user can answer.

    Attributes:
        topic: ``"amount"``, ``"time"``, ``"time format"``, ``"timezone"``, ``"decimal"``,
            ``"currency"``, ``"status"``, ``"order_id"`` or ``"day order"``.
        text: the question.
        candidates: the columns, formats or values to choose from.
        required: whether rows cannot be sent without an answer.
    """

    topic: str
    text: str
    candidates: Sequence[str] = ()
    required: bool = True


_ANSWERS: Final[Mapping[str, tuple[str, str]]] = {
    "timezone": ("", 'timezone = "Europe/Berlin"'),
    "currency": ("", 'currency = "EUR"'),
    "decimal": ("", "decimal = {}"),
    "time format": ("", "formats = [{}]"),
    "day order": ("", "day_first = {}"),
    "amount": ("amounts", "gross = {}"),
    "time": ("columns", "timestamp = {}"),
    "order_id": ("columns", "order_id = {}"),
    "status": ("rules", "keep = [{}]"),
}
"""Topic of a question → the table of its answer, and the line that answers it."""

_TRUTHS: Final = ("true", "false")


def to_toml(
    entries: Mapping[str, Any], questions: Sequence[Question], rule: Mapping[str, Any] | None
) -> str:
    """Return a ``map.toml`` with *entries*, and *questions* with their answers as comments."""
    tables = ("amounts", "columns")
    lines = ["# A proposal: check it, and answer the questions by removing comment signs."]
    lines += [f"{key} = {_value(value)}" for key, value in entries.items() if key not in tables]
    lines += _asked(questions, "")
    for name in tables:
        lines += ["", f"[{name}]", *_asked(questions, name)]
        lines += [f"{_key(key)} = {_value(value)}" for key, value in entries.get(name, {}).items()]
    if rule:
        lines += ["", "[[rules]]", *_asked(questions, "rules")]
        lines += [f"{key} = {_value(value)}" for key, value in rule.items()]
    elif rule_questions := _asked(questions, "rules"):
        lines += ["", "# [[rules]]", *rule_questions]
    return "\n".join(lines) + "\n"


def _asked(questions: Sequence[Question], table: str) -> list[str]:
    lines = []
    for question in questions:
        own_table, answer = _ANSWERS[question.topic]
        if own_table == table:
            lines.append(f"# {question.text}")
            values = question.candidates or ("…",)
            shown = (value if value in _TRUTHS else _value(value) for value in values)
            lines += dict.fromkeys(f"# {answer.format(value)}" for value in shown)
    return lines


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _value(value: Any) -> str:
    # JSON's texts and lists of texts are also TOML's.
    return json.dumps(value, ensure_ascii=False)
