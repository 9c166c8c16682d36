"""The page about the presets, made from their declarations.

python -m anytrack_async.backfilling.presets.describe > docs/presets.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from anytrack_async.backfilling.mapping import AmountColumns, FileMapping, RowRule
from anytrack_async.backfilling.presets.registry import all_presets

_HEAD = """# Presets: the kinds of files that a back-fill knows

A file is recognised by its columns: case, order and further columns do not matter, and neither do
encoding, delimiter and compression. The report names the preset that was chosen; `--preset` states
one. For other files, `anytrack backfill --inspect` proposes a mapping.

The event id of a sale is `sale:<order id>`, the same as `track_sale(order_id=…)` makes: an order
that was tracked when it was placed is not sent again, if the live integration uses the order id of
the column below.

Each table lists the fields of a conversion, and the column that each is read from. Of several
columns, the first that is not blank counts. In the name of a column, `*` stands for any text, and
`[1-5]` for one of these digits.

Where a list names the values "sent", a row with any other value is skipped. Skipped rows are
counted by reason. Refunds and cancellations are counted too, and sent as custom events `Refund`
with `--refunds custom`. A row whose amount or time has two meanings is rejected, and its reason
names the option that decides. In Python, an option such as `--day-first` is the argument
`day_first=True` of `BackfillSettings`.

This page is made from the presets: `python -m anytrack_async.backfilling.presets.describe`.
"""


def page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD]
    described: set[str] = set()
    for preset in all_presets():
        # Variants of a preset in other languages differ in their names of columns only.
        if not preset.refusal and preset.name not in described:
            described.add(preset.name)
            parts.append("\n".join(_section(preset)))
    parts.append("\n".join(_refusals(preset for preset in all_presets() if preset.refusal)))
    return "\n".join(parts)


def _section(preset: FileMapping) -> Iterator[str]:
    yield f"## {preset.name}\n"
    title = preset.title.removesuffix(", in English")
    yield f"[{title}]({preset.page}).\n" if preset.page else f"{title}.\n"
    if preset.signature:
        yield f"Recognised by {', '.join(_item(item) for item in preset.signature)}.\n"
    if preset.header:
        yield f"Without a header; columns: {_listed(preset.header[:5])}.\n"
    yield from _table(preset)
    facts = [*map(_rule, preset.rules), *_defaults(preset), *preset.notes]
    if facts:
        yield "\n".join(f"- {fact}" for fact in facts) + "\n"


def _table(preset: FileMapping) -> Iterator[str]:
    yield "| field | column |\n|---|---|"
    for field, columns in preset.columns.items():
        yield f"| {_field(field)} | {_listed(columns)} |"
    for pattern, part in preset.rest.items():
        yield f"| `{part}` | {_code(pattern)} |"
    if preset.lift:
        yield f"| click ids, also in links | {_listed(preset.lift)} |"
    if preset.amounts:
        yield from _amounts(preset)
    yield ""


def _field(field: str) -> str:
    return f"**`{field}`** (the event id)" if field == "order_id" else f"`{field}`"


def _amounts(preset: FileMapping) -> Iterator[str]:
    default = preset.amount or preset.choices[:1]
    for choice, amount in preset.amounts.items():
        if choice == "refund":
            yield f"| refunded amount | {_sum(amount)} |"
        elif len(preset.choices) == 1:
            yield f"| `revenue` | {_sum(amount)} |"
        else:
            mark = " (default)" if choice == default[0] else ""
            mark = " (default, if that is blank)" if choice in default[1:] else mark
            yield f"| `revenue`, `--amount {choice}`{mark} | {_sum(amount)} |"


def _sum(amount: AmountColumns) -> str:
    text = _listed(amount.plus)
    return f"{text} minus {_listed(amount.minus)}" if amount.minus else text


def _rule(rule: RowRule) -> str:
    parts = [f"{_listed(rule.columns)}:"]
    if rule.keep:
        parts.append(f"sent if {_words(rule.keep)}{' or blank' if rule.blank else ''};")
    if rule.drop:
        parts.append(f"skipped if {_words(rule.drop)};")
    if rule.refund:
        parts.append(f"a refund or cancellation if {_words(rule.refund)};")
    if rule.unless:
        parts.append(f"not checked with `--{rule.unless}`;")
    if rule.reason:
        parts.append(f'counted as "{rule.reason}";')
    return f"{' '.join(parts).rstrip(';')}."


def _defaults(preset: FileMapping) -> Iterator[str]:
    if preset.negative:
        yield f'A negative amount is skipped, counted as "{preset.negative}".'
    if preset.timezone:
        yield f"Times without a zone are in {preset.timezone}."
    if preset.day_first is not None:
        example = "5 June" if preset.day_first else "6 May"
        yield f"05/06/2026 is {example}, unless `--day-first` or `--month-first` is stated."
    if preset.decimal:
        yield f"The decimal sign is `{preset.decimal}`."


def _refusals(presets: Iterable[FileMapping]) -> Iterator[str]:
    yield "## Files that are recognised and refused\n"
    yield "| file | recognised by | reason |\n|---|---|---|"
    for preset in presets:
        signature = ", ".join(_item(item) for item in preset.signature)
        yield f"| {preset.title} | {signature} | {preset.refusal} |"
    yield ""


def _item(item: str | Sequence[str]) -> str:
    if isinstance(item, str):
        return _code(item)
    if len(item) == 1:
        return _code(item[0])
    names = [_code(name) for name in item[:6]]
    return f"({' or '.join(names)}{' or …' if len(item) > 6 else ''})"


def _words(words: Iterable[str]) -> str:
    return ", ".join(_code(word) if word else "blank" for word in sorted(words))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(_code, names))


def _code(text: str) -> str:
    return f"`{text}`"


if __name__ == "__main__":
    sys.stdout.write(page())
