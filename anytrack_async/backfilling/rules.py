"""Which rows are left out on purpose: the rules of a mapping, compiled for one header."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import cache, partial

from anytrack_async.backfilling.getters import Row
from anytrack_async.backfilling.header import Header
from anytrack_async.backfilling.mapping import FileMapping, RowRule
from anytrack_async.backfilling.settings import BackfillSettings


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
