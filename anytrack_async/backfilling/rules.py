"""Which rows are left out on purpose, and which are refused because they contradict themselves.

The rules of a mapping say which rows are left out. Independently of them, a row that states money,
time or id twice, or a rounded id, is rejected with the reason: no value is chosen silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import cache, partial

from anytrack_async.backfilling.amounts import currencies_of
from anytrack_async.backfilling.getters import Row
from anytrack_async.backfilling.header import Header
from anytrack_async.backfilling.mapping import FileMapping, RowRule
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.identifiers import is_rounded


class Skip(str):
    """Why a row is left out on purpose."""

    __slots__ = ()


REFUND_EVENT = "Refund"
"""Name of the custom event of a refund."""

REFUND_FOUND = Skip("refund or cancellation")

_NOTE_BEHIND = re.compile(r"\s*\([^()]*\)$")


def compile_rules(
    mapping: FileMapping, header: Header, settings: BackfillSettings
) -> list[Callable[[Row], Skip | None]]:
    """Return a function for each rule that concerns the file: from a row to why it is left out."""
    checks = (_compile_rule(rule, header, settings) for rule in mapping.rules)
    return [check for check in checks if check is not None]


def _compile_rule(
    rule: RowRule, header: Header, settings: BackfillSettings
) -> Callable[[Row], Skip | None] | None:
    get = header.getter(rule.columns)
    if get is None or (rule.unless and getattr(settings, rule.unless)):
        return None
    keep = _kept_words(rule, settings)
    # Cached by the word in the cell: a column of states has a dozen words in a million rows.
    judge = cache(
        partial(
            _skip_of,
            rule=rule,
            keep=keep,
            loosely_kept={_loose(word) for word in keep} if rule.loose else frozenset(),
            column=header.present(rule.columns),
        )
    )
    return lambda row: judge(str(value).strip().casefold() if (value := get(row)) else "")


def _kept_words(rule: RowRule, settings: BackfillSettings) -> frozenset[str]:
    words = getattr(settings, rule.keep_setting) if rule.keep_setting else None
    return frozenset(word.casefold() for word in words) if words else rule.keep


def _skip_of(
    word: str,
    *,
    rule: RowRule,
    keep: AbstractSet[str],
    loosely_kept: AbstractSet[str],
    column: str,
) -> Skip | None:
    """Return why *rule* leaves out a row with *word* in *column*; None if it does not."""
    if word and _loose(word) in loosely_kept:
        return None
    if word in rule.refund:
        return REFUND_FOUND
    if not word and rule.blank:
        return None
    if word in rule.drop or (keep and word not in keep):
        return Skip(rule.reason or _value_of(column, word))
    return None


def _value_of(column: str, word: str) -> str:
    return f"{column}: {word or 'blank'}"


def _loose(word: str) -> str:
    """Return ``closedwon`` for ``closed won (sales pipeline)``."""
    name = _NOTE_BEHIND.sub("", word) or word
    return "".join(filter(str.isalnum, name))


_DECISIVE = ("order_id", "event_id", "timestamp", "date", "time", "zone", "currency")


# Contradictions


def compile_uniqueness(mapping: FileMapping, header: Header) -> Callable[[Row], None] | None:
    """Return a check of columns that a file has several times; None if there are no such columns.

    Only amount, time, currency and ids are checked: a customer may have several values.

    Returns:
        A function that raises `InvalidConversionError` if the cells of such columns differ.
    """
    repeated = _repeated_columns(mapping, header)

    def check(row: Row) -> None:
        for field, positions in repeated:
            if len({row[position] for position in positions} - {"", None}) > 1:
                raise InvalidConversionError(
                    field,
                    f"is in {len(positions)} columns of the same name, whose cells differ: rename "
                    "those that do not count",
                )

    return check if repeated else None


def _repeated_columns(mapping: FileMapping, header: Header) -> list[tuple[str, Sequence[int]]]:
    """Return field and positions of each column name that the file has several times."""
    columns = {field: mapping.columns.get(field, ()) for field in _DECISIVE}
    amounts = [column for amount in mapping.amounts.values() for column in amount.columns]
    return [
        (field, positions)
        for field, names in {**columns, "revenue": amounts}.items()
        for positions in header.positions(names)
        if len(positions) > 1
    ]


def check_id(order_id: object) -> None:
    """Refuse an id that a spreadsheet has rounded: many orders have the id ``5.12346E+12``.

    Raises:
        InvalidConversionError: *order_id* is such an id.
    """
    if isinstance(order_id, str) and is_rounded(order_id):
        raise InvalidConversionError(
            "order_id",
            "was rounded by a spreadsheet, so that it is that of many orders: take the file as it "
            "was exported, or format the column as text",
        )


def stated_currency(signs: Sequence[str], currency: object) -> str | None:
    """Return the currency that *signs* beside an amount state; None if they may mean several.

    Args:
        signs: texts such as ``€`` or ``USD``.
        currency: the row's currency, if it is known.

    Raises:
        InvalidConversionError: the signs contradict the row's currency, or each other.
    """
    possible = frozenset.intersection(*map(currencies_of, signs))
    if currency:
        possible &= {str(currency).strip().upper()}
    if not possible:
        raise InvalidConversionError(
            "currency",
            "is another one than the sign beside the amount says: correct one of them",
        )
    return next(iter(possible)) if len(possible) == 1 else None
