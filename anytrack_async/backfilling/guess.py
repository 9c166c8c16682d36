"""A proposed mapping for a file that no preset recognises.

Fields with one fitting column are filled in. Money and time decide the numbers in a service's
reports, so neither is chosen from several columns: the proposal has them as questions, which a user
answers by removing comment signs in the ``map.toml``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from unicodedata import normalize

import attrs

from anytrack_async.backfilling.amounts import amount_parser
from anytrack_async.backfilling.mapping import FileMapping, to_mapping
from anytrack_async.backfilling.proposal import Question, to_toml
from anytrack_async.backfilling.times import time_parser, written_parser
from anytrack_async.backfilling.vocabulary import (
    AMOUNTS,
    NOT_AMOUNTS,
    PAID,
    STATUS,
    SYNONYMS,
    TIMES,
)
from anytrack_async.errors import InvalidConversionError

_NOT_LETTERS = re.compile(r"[^a-z0-9]+")

_FORMATS: Final = (
    *("%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"),
    *("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y"),
    *("%Y/%m/%d %H:%M:%S", "%Y/%m/%d", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y", "%Y%m%d%H%M%S"),
)


@attrs.frozen(kw_only=True)
class Guess:
    """A proposed mapping.

    Attributes:
        toml: the text of a ``map.toml``, with the certain columns, and the questions as comments.
        columns: field → column, for each field with one fitting column.
        questions: the decisions that the user has to make.
        mapping: the mapping that `toml` describes while no question is answered.
    """

    toml: str
    columns: Mapping[str, str]
    questions: Sequence[Question]
    mapping: FileMapping

    @property
    def usable(self) -> bool:
        """Whether the mapping can be used as it is."""
        return not any(question.required for question in self.questions)


def guess_mapping(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]] = (),
    *,
    name: str = "map",
    answered: Collection[str] = (),
) -> Guess:
    """Return a mapping for a file with *columns*.

    Args:
        columns: the header.
        rows: some rows, from which the forms of times and amounts are seen.
        name: name of the mapping.
        answered: topics of questions that need not be asked, e.g. ``"timezone"``.
    """
    return _Guesser(columns, rows, name, answered).guess()


class _Guesser:
    """Collects the entries and the questions of a proposal."""

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        name: str,
        answered: Collection[str],
    ) -> None:
        self._columns = [column for column in columns if column]
        self._plain = {column: _plain(column) for column in self._columns}
        self._index = {column: index for index, column in enumerate(columns)}
        self._rows = rows
        self._name = name
        self._entries: dict[str, Any] = {"name": name}
        self._answered = answered
        self._questions: list[Question] = []

    def guess(self) -> Guess:
        column_of = self._fields()
        amounts = self._candidates(AMOUNTS, column_of, excluded=NOT_AMOUNTS)
        self._amount(self._numeric(amounts), column_of)
        times = self._candidates(TIMES, column_of)
        self._time(self._timelike(times), column_of)
        if "order_id" not in column_of:
            text = "which column has the order's id? Without it, ids are made of the rows"
            self._ask(Question(topic="order_id", text=text, required=False))
        if "currency" not in column_of:
            text = 'no column has the currency: state it, e.g. currency = "EUR"'
            self._ask(Question(topic="currency", text=text))
        rule = self._status(column_of)
        self._entries["columns"] = column_of
        return Guess(
            toml=to_toml(self._entries, self._questions, rule),
            columns=column_of,
            questions=tuple(self._questions),
            mapping=to_mapping({**self._entries, **({"rules": [rule]} if rule else {})}),
        )

    def _ask(self, question: Question) -> None:
        if question.topic not in self._answered:
            self._questions.append(question)

    def _fields(self) -> dict[str, str]:
        """Return field → column for the fields with a clear name: the best name counts."""
        column_of: dict[str, str] = {}
        for field, names in SYNONYMS.items():
            for synonym in names:
                matches = [
                    column
                    for column in self._columns
                    if self._plain[column] == synonym and column not in column_of.values()
                ]
                if matches:
                    column_of[field] = matches[0]
                    break
        return column_of

    def _candidates(
        self, names: Sequence[str], column_of: Mapping[str, str], excluded: Sequence[str] = ()
    ) -> list[str]:
        """Return the columns that are, or begin or end with, one of *names*."""
        used = set(column_of.values())
        return [
            column
            for column in self._columns
            if column not in used
            and not any(word in self._plain[column] for word in excluded)
            and any(_alike(self._plain[column], name) for name in names)
        ]

    def _cells(self, column: str) -> list[Any]:
        index = self._index[column]
        cells = (row[index] for row in self._rows if index < len(row))
        return [cell for cell in cells if cell not in (None, "")]

    def _numeric(self, columns: Sequence[str]) -> list[str]:
        """Return the *columns* with digits in most cells.

        Some have a word instead, such as "free" or "n/a"; those rows are rejected.
        """
        numeric = []
        for column in columns:
            cells = [cell for cell in self._cells(column) if str(cell).strip()]
            if 3 * sum(map(_has_digit, cells)) >= 2 * len(cells):
                numeric.append(column)
        return numeric

    def _timelike(self, columns: Sequence[str]) -> list[str]:
        return [column for column in columns if all(map(_has_digit, self._cells(column)))]

    def _like(self, fits: Callable[[Any], bool], excluded: Iterable[str]) -> list[str]:
        """Return the columns, whatever their names, in which at least 80 % of the cells fit."""
        columns = []
        for column in self._columns:
            cells = self._cells(column)
            if column not in excluded and 5 * sum(map(fits, cells)) >= 4 * max(1, len(cells)):
                columns.append(column)
        return columns

    def _amount(self, candidates: Sequence[str], column_of: Mapping[str, str]) -> None:
        if len(candidates) != 1:
            text = (
                "which column is the amount to send?"
                if candidates
                else "no column has the name of an amount: which one is it?"
            )
            candidates = candidates or self._like(_is_amount, column_of.values())
            question = Question(topic="amount", text=text, candidates=candidates)
            self._ask(question)
            return
        (column,) = candidates
        self._entries["amounts"] = {"gross": column}
        cells = [cell for cell in self._cells(column) if _has_digit(cell)]
        if _fits(amount_parser(None), cells):
            return
        signs = [sign for sign in (",", ".") if _fits(amount_parser(sign), cells)]
        if len(signs) == 1:
            self._entries["decimal"] = signs[0]
            return
        text = f"which is the decimal sign in {column!r}?"
        self._ask(Question(topic="decimal", text=text, candidates=(",", ".")))

    def _time(self, candidates: Sequence[str], column_of: dict[str, str]) -> None:
        if len(candidates) != 1:
            self._ask_for_time(candidates, column_of.values())
            return
        (column,) = candidates
        column_of["timestamp"] = column
        self._propose_format(column)

    def _ask_for_time(self, candidates: Sequence[str], used: Iterable[str]) -> None:
        text = (
            "which column is the time of the conversion?"
            if candidates
            else "no column has the name of the time of the conversion: which one is it?"
        )
        candidates = candidates or self._like(_is_written_time, used)
        self._ask(Question(topic="time", text=text, candidates=candidates))

    def _propose_format(self, column: str) -> None:
        """Propose the format of the times in *column*, or ask for it."""
        cells = self._cells(column)
        if all(_is_clear_time(cell) for cell in cells):
            self._zone(cells, ("iso", "unix"))
            return
        texts = [str(cell) for cell in cells]
        formats = [form for form in _FORMATS if all(_has_format(text, form) for text in texts)]
        if not formats and self._written(texts, column):
            return
        if len(formats) != 1:
            text = f"which is the format of the times in {column!r}?"
            question = Question(topic="time format", text=text, candidates=formats)
            self._ask(question)
            return
        self._entries["formats"] = formats
        self._zone(cells, formats)

    def _written(self, texts: Sequence[str], column: str) -> bool:
        """Propose the format ``written`` if the times in *column* have it; return whether."""
        orders = [order for order in (True, False) if _fits_written(texts, order)]
        if not orders:
            return False
        self._entries["formats"] = ["written"]
        if len(orders) == 1:
            self._entries["day_first"] = orders[0]
        elif not _fits_written(texts, None):
            text = f"is 05/06/2026 in {column!r} the 5th of June?"
            question = Question(topic="day order", text=text, candidates=("true", "false"))
            self._ask(question)
        zoned = all(parsed.tzinfo for text in texts if (parsed := written_parser(True)(text)))
        if not zoned:
            text = 'the times have no zone: state it, e.g. timezone = "Europe/Berlin"'
            self._ask(Question(topic="timezone", text=text))
        return True

    def _zone(self, cells: Sequence[Any], formats: Sequence[str]) -> None:
        if formats == ("iso", "unix") and any(_is_unix(cell) for cell in cells):
            self._entries["formats"] = ["iso", "unix"]
        parse = time_parser(formats, None)
        if not _fits(lambda cell: parse(cell, None), cells):
            text = 'the times have no zone: state it, e.g. timezone = "Europe/Berlin"'
            self._ask(Question(topic="timezone", text=text))

    def _status(self, column_of: Mapping[str, str]) -> dict[str, Any] | None:
        """Return the rule for the column with the state of an order, if values are known."""
        column = self._status_column(set(column_of.values()))
        if column is None:
            return None
        values = sorted({str(cell).strip().casefold() for cell in self._cells(column)})
        keep = [value for value in values if value in PAID]
        text = f"which values of {column!r} are sales?"
        if not keep:
            self._ask(Question(topic="status", text=text, candidates=values))
            return None
        if len(values) > len(keep):
            question = Question(topic="status", text=text, candidates=values, required=False)
            self._ask(question)
        return {"columns": column, "keep": keep}

    def _status_column(self, used: Collection[str]) -> str | None:
        columns = (
            column
            for name in STATUS
            for column in self._columns
            if self._plain[column] == name and column not in used
        )
        return next(columns, None)


def _plain(column: str) -> str:
    """Return ``numerodecommande`` for ``Numéro de commande``."""
    letters = normalize("NFKD", column.casefold())  # which takes accents off their letters
    return _NOT_LETTERS.sub("", letters)


def _alike(name: str, synonym: str) -> bool:
    # Short words are part of too many others: "net" of "internet".
    if len(synonym) < 5:
        return name == synonym
    return name.startswith(synonym) or name.endswith(synonym)


def _has_digit(cell: Any) -> bool:
    return not isinstance(cell, str) or any(map(str.isdecimal, cell))


def _fits(parse: Callable[[Any], Any], cells: Iterable[Any]) -> bool:
    try:
        for cell in cells:
            parse(cell)
    except InvalidConversionError:
        return False
    return True


def _is_clear_time(cell: Any) -> bool:
    try:
        time_parser(("iso", "unix"), UTC)(cell, None)
    except InvalidConversionError:
        return False
    return True


def _fits_written(texts: Iterable[str], day_first: bool | None) -> bool:
    parse = written_parser(day_first)
    try:
        return all(parse(text) is not None for text in texts)
    except InvalidConversionError:
        return False


def _is_written_time(cell: Any) -> bool:
    """Return whether *cell* is a time that no other kind of cell looks like."""
    if not isinstance(cell, str):
        return isinstance(cell, date)
    if cell.strip().isdecimal():
        return False
    return _is_clear_time(cell) or any(_fits_written([cell], order) for order in (True, False))


def _is_amount(cell: Any) -> bool:
    """Return whether *cell* is a number with decimals."""
    if isinstance(cell, str):
        signed = cell.strip()[-3:-2] in (",", ".")
        return signed and any(_fits(amount_parser(sign), [cell]) for sign in (",", "."))
    return isinstance(cell, float | Decimal)


def _is_unix(cell: Any) -> bool:
    return isinstance(cell, str) and cell.strip().replace(".", "", 1).isdecimal()


def _has_format(text: str, form: str) -> bool:
    try:
        datetime.strptime(text.strip(), form)
    except ValueError:
        return False
    return True
