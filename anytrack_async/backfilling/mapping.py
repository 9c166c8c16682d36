"""`FileMapping`: a table of which column of a file is which field of a conversion.

Presets are such tables, and so is a ``map.toml``. Its keys are the attributes below:

    name = "my-shop"
    decimal = ","
    timezone = "Europe/Berlin"

    [columns]
    order_id = "Bestellnummer"
    timestamp = ["Bezahlt am", "Erstellt am"]   # the first one that is filled
    "customer.email" = "E-Mail"

    [amounts]
    gross = "Summe"
    net = { plus = ["Summe"], minus = ["Erstattet"] }

    [[rules]]
    columns = "Status"
    keep = ["bezahlt"]
    refund = ["erstattet"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from anytrack_async.backfilling.settings import DECIMALS, BackfillSettings, to_zone
from anytrack_async.descriptions import shown
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.validators import currency_code
from anytrack_async.settings.fields import flag, non_empty, one_of, text, text_table, texts

_optional = attrs.validators.optional

Columns: TypeAlias = str | Sequence[str]
"""A column, or several columns: the first filled cell counts."""

Finish: TypeAlias = Callable[[dict[str, Any], Callable[[str], Any]], None]
"""Changes a conversion's fields; the second argument returns the value of a column."""

Prepare: TypeAlias = Callable[[BackfillSettings], Finish]
"""Makes a `Finish` once for each source, e.g. after it has read another file."""


def _names(value: Columns) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    try:
        return tuple(value)
    except TypeError:
        return value  # type: ignore[return-value]  # its validator names the entry


def _signature(value: Iterable[str | Sequence[str]]) -> tuple[str | Sequence[str], ...]:
    try:
        signature = tuple(value)
        if all(isinstance(name, str) for item in signature for name in _names(item)):
            return signature
    except TypeError:
        pass
    raise _wrong("signature", "a list of columns", value)


def _name_table(value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise _wrong("columns", "a table of field and column", value)
    table = {field: _names(columns) for field, columns in value.items()}
    for field, names in table.items():
        if not _are_texts(names):
            raise _wrong(f"columns: {shown(field)}", "a column or a list of columns", names)
    return table


def _are_texts(names: object) -> bool:
    return isinstance(names, tuple) and all(isinstance(name, str) for name in names)


def _wrong(name: str, needed: str, value: object) -> ConfigurationError:
    return ConfigurationError(f"{name} must be {needed}, got {shown(value)}")


def _words(value: Columns) -> frozenset[str]:
    return frozenset(word.casefold() for word in _names(value))


@attrs.frozen(kw_only=True)
class AmountColumns:
    """A choice of `FileMapping.amounts`: the sum of some columns minus the sum of others.

    Attributes:
        plus: columns; of several, all that are filled are added.
        minus: columns to subtract, such as refunds.
        alternatives: whether `plus` are names for the same column, in several languages or versions
            of the file: the first one that the file has counts.
    """

    plus: tuple[str, ...] = attrs.field(converter=_names, validator=texts)
    minus: tuple[str, ...] = attrs.field(default=(), converter=_names, validator=texts)
    alternatives: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns."""
        return self.plus + self.minus


def either(*columns: str) -> AmountColumns:
    """Return the amount in the first of *columns* that a file has."""
    return AmountColumns(plus=columns, alternatives=True)


def to_amount(value: AmountColumns | Columns | Mapping[str, Any]) -> AmountColumns:
    """Return the amount that a column, columns, or a table of `plus` and `minus` describe."""
    if isinstance(value, AmountColumns):
        return value
    return AmountColumns(**value) if isinstance(value, Mapping) else AmountColumns(plus=value)


def _amounts(value: Any) -> dict[str, AmountColumns]:
    if isinstance(value, str | AmountColumns | list | tuple):
        value = {"gross": value}
    if not isinstance(value, Mapping) or not all(isinstance(choice, str) for choice in value):
        raise _wrong("amounts", 'a column, or a table such as {"gross": "Total"}', value)
    amounts = {}
    for choice, columns in value.items():
        try:
            amounts[choice] = to_amount(columns)
        except (TypeError, ConfigurationError):
            needed = "a column, columns, or a table with plus and minus"
            raise _wrong(f"amounts: {shown(choice)}", needed, columns) from None
    return amounts


@attrs.frozen(kw_only=True)
class RowRule:
    """Which rows to send, by the value of a column; upper and lower case are the same.

    A row with a value in `refund` is a refund. A row with a value in `drop` is skipped, and so is a
    row with a value that is not in `keep`, unless `keep` is empty.

    Attributes:
        columns: the column, or several columns: the first filled cell counts. If a file has none of
            the columns, the rule does not apply.
        keep: values to send.
        drop: values to skip.
        refund: values of refunds and cancellations, see `BackfillSettings.refunds`.
        reason: why a row is skipped, e.g. ``"not captured"``; default: column and value.
        unless: name of a setting that switches the rule off, e.g. ``"test"``.
        keep_setting: name of a setting that replaces `keep`, if it is set, e.g. ``"won"``.
        loose: whether ``closedwon`` and ``Closed Won (Sales Pipeline)`` are ``closed won``.
        blank: whether a blank cell passes.
    """

    columns: tuple[str, ...] = attrs.field(converter=_names)
    keep: frozenset[str] = attrs.field(default=(), converter=_words)
    drop: frozenset[str] = attrs.field(default=(), converter=_words)
    refund: frozenset[str] = attrs.field(default=(), converter=_words)
    reason: str = ""
    unless: str = attrs.field(default="", validator=one_of("", "test"))
    keep_setting: str = attrs.field(default="", validator=one_of("", "won"))
    loose: bool = False
    blank: bool = False


def _rules(value: Iterable[RowRule | Mapping[str, Any]]) -> tuple[RowRule, ...]:
    try:
        return tuple(rule if isinstance(rule, RowRule) else RowRule(**rule) for rule in value)
    except (TypeError, AttributeError):
        raise _wrong("rules", "a list of tables with columns and keep", value) from None


def _translations(value: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    try:
        return {
            field: {word.casefold(): meaning for word, meaning in words.items()}
            for field, words in value.items()
        }
    except AttributeError:
        raise _wrong("translate", "a table of field, word and value", value) from None


def _zone(_: object, field: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None:
        text(_, field, value)
        to_zone(value)


CONVERSION_FIELDS = frozenset(
    field.name
    for field in attrs.fields(Conversion)
    if field.name not in ("customer", "items", "revenue", "meta")
)
_PARTS = {
    "customer": {*(field.name for field in attrs.fields(Customer)), "name"},
    "items": {field.name for field in attrs.fields(LineItem)},
}
OPEN_PARTS = ("custom_data", "sub_ids", "clicks")
_TIME_PARTS = ("date", "time", "zone")


def is_field(name: str) -> bool:
    """Return whether *name* is a field that a column can have, e.g. ``customer.email``."""
    part, _, name_in_part = name.partition(".")
    if not name_in_part:
        return name in CONVERSION_FIELDS or name in _TIME_PARTS
    return part in OPEN_PARTS or name_in_part in _PARTS.get(part, ())


def _fields(_: object, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, Mapping):
        raise _wrong(field.name, "a table of field and value", value)
    for name in value:
        if not isinstance(name, str) or not is_field(name):
            raise ConfigurationError(
                f"{field.name}: {shown(name)} is not a field of a conversion; fields are e.g. "
                "order_id, timestamp, currency, customer.email, items.id, custom_data.coupon "
                "(the revenue stands in amounts)"
            )


@attrs.frozen(kw_only=True)
class FileMapping:
    """How the rows of one kind of file become conversions.

    Fields of `columns` and `constants` are those of a `Conversion` (`order_id`, `click_id`,
    `timestamp`, …), of its customer (``customer.email``, …; ``customer.name`` is split into first
    and last name), of its items (``items.id``, ``items.quantity``, …), and ``custom_data.…``,
    ``sub_ids.…`` and ``clicks.…``. A time may be in several columns: ``date``, ``time`` and
    ``zone``.

    Attributes:
        name: the preset's name, e.g. ``"shopify"``.
        title: the vendor's name of the file, e.g. "Shopify: Orders → Export".
        page: URL of the vendor's page about the file.
        signature: columns by which the file is recognised, in any order and position. An item of
            several columns needs one of them: names in other languages.
        absent: columns that a file of this kind never has.
        refusal: why such a file cannot be used; empty if it can.
        notes: sentences for the documentation about rules that are not in the table.
        header: columns of a file without a header line.
        delimiter: separator of the cells, if it is always the same.
        columns: field → column, or several columns: the first filled cell counts.
        constants: field → value for all rows, e.g. ``{"conversion_type": "lead"}``; the type is
            ``sale`` by default.
        translate: field → word in the file → value, e.g. ``{"conversion_type": {"rebill":
            "sale"}}``.
        amounts: choice → columns, see `AmountColumns`. ``refund`` is the refunded amount.
        amount: the choices in the order of preference: the first filled amount counts.
        escaped: whether cells of CSV that a spreadsheet would run as a formula have an apostrophe
            before them.
        rules: which rows to send.
        fold: column with the same value in all rows of an order; consecutive rows of an order are
            one conversion, and each row is a line item.
        lift: columns, also patterns such as ``"* (metadata)"``, in which click ids are looked for:
            lines of ``key: value``, links, or a cell of a column that has the key's name.
        rest: pattern of columns → ``custom_data``, ``sub_ids`` or ``clicks``, for their cells.
        formats: of times, tried in order: ``iso``, ``unix`` (seconds or milliseconds), ``written``
            (``25/06/2026 2:05 PM``, ``Jun 25, 2026``), or formats of `datetime.strptime`.
        day_first: whether 05/06/2026 is the 5th of June, if it always is or never is.
        timezone: zone of times that state none, if it is always the same.
        zones: abbreviations in the column `zone` → names of zones.
        decimal: the decimal sign of amounts, if it is always the same.
        negative: why rows with a negative amount are skipped; empty if they are refunds.
        finish: called with a conversion's fields before it is made.
        prepare: makes the function `finish` from the settings, in place of `finish`.
        adds_only: whether `finish` and `prepare` only add customer data, items and the like, and
            change neither type, ids, name, amount, currency nor time.
        record: makes a conversion of a whole record, without the other attributes; `columns` then
            only names columns.

    Raises:
        ConfigurationError: a field, zone or choice is unknown; the message names it.
    """

    name: str = attrs.field(validator=non_empty)
    title: str = ""
    page: str = ""
    signature: tuple[str | Sequence[str], ...] = attrs.field(default=(), converter=_signature)
    absent: tuple[str, ...] = attrs.field(default=(), converter=_names, validator=texts)
    refusal: str = ""
    notes: tuple[str, ...] = attrs.field(default=(), converter=_names, validator=texts)
    header: tuple[str, ...] = attrs.field(default=(), converter=_names, validator=texts)
    delimiter: str | None = attrs.field(default=None, validator=_optional(text))
    day_first: bool | None = attrs.field(default=None, validator=_optional(flag))
    columns: Mapping[str, tuple[str, ...]] = attrs.field(
        factory=dict, converter=_name_table, validator=_fields
    )
    constants: Mapping[str, Any] = attrs.field(factory=dict, validator=_fields)
    translate: Mapping[str, Mapping[str, str]] = attrs.field(
        factory=dict, converter=_translations, validator=_fields
    )
    amounts: Mapping[str, AmountColumns] = attrs.field(factory=dict, converter=_amounts)
    amount: tuple[str, ...] = attrs.field(default=(), converter=_names, validator=texts)
    rules: tuple[RowRule, ...] = attrs.field(default=(), converter=_rules)
    fold: str = attrs.field(default="", validator=text)
    lift: tuple[str, ...] = attrs.field(default=(), converter=_names, validator=texts)
    rest: Mapping[str, str] = attrs.field(factory=dict, validator=text_table)
    formats: tuple[str, ...] = attrs.field(default=("iso",), converter=_names, validator=texts)
    escaped: bool = False
    timezone: str | None = attrs.field(default=None, validator=_zone)
    zones: Mapping[str, str] = attrs.field(factory=dict, validator=text_table)
    decimal: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(one_of(*DECIMALS))
    )
    currency: str | None = attrs.field(
        default=None, converter=attrs.converters.optional(currency_code)
    )
    negative: str = ""
    finish: Finish | None = None
    prepare: Prepare | None = None
    adds_only: bool = False
    record: Callable[[Mapping[str, Any]], Conversion] | None = None

    def __attrs_post_init__(self) -> None:
        for choice in self.amount:
            if choice not in self.amounts:
                raise ConfigurationError(
                    f"mapping {self.name!r}: amount {shown(choice)} is none of its amounts "
                    f"({', '.join(self.amounts) or 'it has none'})"
                )
        for pattern, part in self.rest.items():
            if part not in OPEN_PARTS:
                raise ConfigurationError(
                    f"mapping {self.name!r}: rest {pattern!r} must be "
                    "custom_data, sub_ids or clicks"
                )

    @property
    def choices(self) -> tuple[str, ...]:
        """The choices of `BackfillSettings.amount`."""
        return tuple(choice for choice in self.amounts if choice != "refund")

    def matches(self, columns: Iterable[str]) -> bool:
        """Return whether *columns* have the signature; case and order do not matter."""
        names = {normalised(column) for column in columns}
        if not self.signature or any(normalised(name) in names for name in self.absent):
            return False
        return all(
            any(normalised(name) in names for name in _names(item)) for item in self.signature
        )


def normalised(column: str) -> str:
    """Return the name of a column in the form by which columns are compared."""
    return " ".join(column.replace("\ufeff", "").split()).casefold()


def matching(pattern: str, columns: Iterable[str]) -> list[str]:
    """Return the *columns* that match *pattern*, a name or a pattern such as ``adv*``."""
    normal_pattern = normalised(pattern)
    return [column for column in columns if fnmatchcase(normalised(column), normal_pattern)]


# map.toml

_FUNCTIONS = ("finish", "prepare", "record")
_LISTED = frozenset(
    field.name for field in attrs.fields(FileMapping) if field.name not in _FUNCTIONS
)


def load_mapping(path: str | Path) -> FileMapping:
    """Return the mapping in the file *path*, a ``map.toml``; blocks while it reads.

    Raises:
        ConfigurationError: it is not TOML, or an entry is not valid; the message names it.
        OSError: it cannot be read.
    """
    file = Path(path)
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{file.name} is not a TOML file: {exc}") from None
    return to_mapping(entries, default_name=file.stem)


def to_mapping(entries: Mapping[str, Any], *, default_name: str = "map") -> FileMapping:
    """Return the mapping with *entries*, as a ``map.toml`` has them.

    Raises:
        ConfigurationError: an entry is unknown or not valid; the message names it.
    """
    for name in entries:
        if name not in _LISTED:
            raise ConfigurationError(
                f"{shown(name)} is not an entry of a mapping; entries: {', '.join(sorted(_LISTED))}"
            )
    try:
        return FileMapping(**{"name": default_name, **entries})
    except (TypeError, AttributeError) as exc:
        raise ConfigurationError(f"the mapping has an entry of a wrong type: {exc}") from None
