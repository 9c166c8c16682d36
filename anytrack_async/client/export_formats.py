"""The formats of exports: CSV, JSON Lines, Parquet, and the files that ad services import.

Each format makes a formatter of a file: a function of some rows that returns their bytes. It is
called in a worker thread.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import attrs
import orjson

from anytrack_async.errors import ConfigurationError
from anytrack_async.models.consent import Consent, ConsentState
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.plain import as_json

CSV_COLUMNS = (
    "id",
    "click_id",
    "conversion_type",
    "revenue",
    "currency",
    "source",
    "campaign_id",
    "ad_id",
    "timestamp",
    "ip_address",
)
"""The columns of `export_conversions_csv`, in order."""

DEFAULT_COLUMNS = (*CSV_COLUMNS, "order_id", "event_id", "clicks", "consent")
"""The columns of a CSV export, unless others are named."""

COLUMNS = (
    *CSV_COLUMNS,
    *("event_id", "event_name", "order_id", "user_agent", "page_url", "sub_ids", "custom_data"),
    *("clicks", "consent"),
)
"""All fields of a conversion except customer, items and Meta's, which AnyTrack does not have."""

NESTED = ("sub_ids", "custom_data", "clicks", "consent")
"""Columns that are objects of JSON, as text in CSV and Parquet."""

_T = TypeVar("_T")

Formatter: TypeAlias = Callable[[Sequence[_T], bool], bytes]
"""Formats some rows; the second argument is whether they are the first ones of the file."""


@attrs.frozen(kw_only=True)
class Format:
    """A format of exports.

    Attributes:
        formatter: makes the formatter of a file with some columns.
        columns: the columns, unless others are named.
        is_fixed: whether no others can be named.
        accepts: returns whether a conversion can be in such a file; None for all.
    """

    formatter: Callable[[Sequence[str]], Formatter[Conversion]]
    columns: Sequence[str] = COLUMNS
    is_fixed: bool = False
    accepts: Callable[[Conversion], bool] | None = None

    def checked(self, name: str, columns: Sequence[str] | None) -> Sequence[str]:
        """Return *columns*, or if None the columns of this format, called *name*.

        Raises:
            ConfigurationError: a column is unknown, or the format has columns of its own.
        """
        if columns is None:
            return self.columns
        if self.is_fixed:
            raise ConfigurationError(f"columns: the columns of {name} are fixed; name none")
        names: Sequence[str] = () if isinstance(columns, str) else columns
        unknown = [name for name in names if name not in COLUMNS]
        if unknown or not names:
            problem = f"{', '.join(map(repr, unknown))} is unknown" if unknown else "must be a list"
            raise ConfigurationError(f"columns: {problem}; columns: {', '.join(COLUMNS)}")
        return tuple(names)


# CSV and JSON Lines


def _csv_formatter(columns: Sequence[str]) -> Formatter[Conversion]:
    def format_rows(rows: Sequence[Conversion], first: bool) -> bytes:
        cells = ([_cell(row, name) for name in columns] for row in rows)
        return _csv_bytes(columns if first else (), cells)

    return format_rows


def _csv_bytes(header: Sequence[str], rows: Iterable[Sequence[str]], first_line: str = "") -> bytes:
    text = io.StringIO()
    text.write(first_line)
    writer = csv.writer(text)
    if header:
        writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode(errors="replace")


def _cell(row: Conversion, name: str) -> str:
    value = plain_value(row, name)
    if name in NESTED:
        return with_escape(as_json(value)) if value is not None else ""
    text = "" if value is None else str(value)
    return text if name == "revenue" else with_escape(text)  # a negative revenue is a number


def _jsonl_formatter(columns: Sequence[str]) -> Formatter[Conversion]:
    def format_rows(rows: Sequence[Conversion], _: bool) -> bytes:
        return b"".join(_line(_record(row, columns)) for row in rows)

    return format_rows


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # AnyTrack's custom data has an integer of more than 64 bits
        record = json.loads(json.dumps(record), parse_constant=lambda _: None)  # NaN is not JSON
        return json.dumps(record, ensure_ascii=False).encode(errors="replace") + b"\n"


def _record(row: Conversion, columns: Sequence[str]) -> dict[str, Any]:
    plain = {name: plain_value(row, name) for name in columns}
    return {name: value for name, value in plain.items() if value is not None}


def plain_value(row: Conversion, name: str) -> Any:
    """Return the field *name* of *row* as a value that JSON has."""
    value = getattr(row, name)
    if name == "timestamp":
        return value.isoformat()
    if isinstance(value, Consent):
        return value.as_dict()
    if name in NESTED:
        return dict(value) if value else None
    # Revenue is text: as a JSON number, 49.90 would be read back as 49.9, and 0.1 inexactly.
    return str(value) if name in ("revenue", "conversion_type") else value


def _parquet_formatter(columns: Sequence[str]) -> Formatter[Conversion]:
    # Imported here, because it needs the extra [parquet].
    from anytrack_async.client.export_parquet import ParquetFormatter

    return ParquetFormatter(columns)


# Ad services

_EVENT_NAMES: Final = {
    ConversionType.SALE: "Purchase",
    ConversionType.LEAD: "Lead",
    ConversionType.SIGNUP: "CompleteRegistration",
}
_UTC_LINE = "Parameters:TimeZone=+0000\r\n"
_AD_TIME = "%Y-%m-%d %H:%M:%S+0000"
_META_IDS = ("fbc", "fbp", "fbclid")

Cells: TypeAlias = Mapping[str, Callable[[Conversion], str]]
"""Column → function that returns its cell."""


def _attribute(name: str) -> Callable[[Conversion], str]:
    return lambda row: str(getattr(row, name) or "")


def _extra(name: str) -> Callable[[Conversion], str]:
    """Return a function that returns a click id or cookie, which AnyTrack keeps as extra data."""

    def get(row: Conversion) -> str:
        for values in (row.clicks, row.custom_data, row.sub_ids):
            if values and (value := values.get(name)):
                return str(value)
        return ""

    return get


def _event_name(row: Conversion) -> str:
    return row.event_name or _EVENT_NAMES.get(row.conversion_type, "Custom")


def _conversion_name(row: Conversion) -> str:
    return _extra("conversion_name")(row) or _event_name(row)


def _order(row: Conversion) -> str:
    return row.order_id or row.event_id


def _ad_cells(click: str, name: str) -> Cells:
    return {
        click: _extra(name),
        "Conversion Name": _conversion_name,
        "Conversion Time": lambda row: row.timestamp.strftime(_AD_TIME),
        "Conversion Value": lambda row: str(row.revenue),
        "Conversion Currency": _attribute("currency"),
    }


_GOOGLE: Final[Cells] = {**_ad_cells("Google Click ID", "gclid"), "Order ID": _order}
_MICROSOFT: Final[Cells] = _ad_cells("Microsoft Click ID", "msclkid")
_META: Final[Cells] = {
    "event_name": _event_name,
    "event_time": lambda row: str(int(row.timestamp.timestamp())),
    "event_id": _attribute("event_id"),
    "value": lambda row: str(row.revenue),
    "currency": _attribute("currency"),
    "order_id": _attribute("order_id"),
    "event_source_url": _attribute("page_url"),
    "client_ip_address": _attribute("ip_address"),
    "client_user_agent": _attribute("user_agent"),
    **{name: _extra(name) for name in _META_IDS},
}


def _template(cells: Cells, accepts: Callable[[Conversion], bool], first_line: str = "") -> Format:
    """Return a format with the columns that a service prescribes."""

    def format_rows(rows: Sequence[Conversion], first: bool) -> bytes:
        texts = ([_safe(name, cell(row)) for name, cell in cells.items()] for row in rows)
        return _csv_bytes(tuple(cells) if first else (), texts, first_line if first else "")

    return Format(
        formatter=lambda _: format_rows,
        columns=tuple(cells),
        is_fixed=True,
        accepts=lambda row: _is_allowed(row) and accepts(row),
    )


def _is_allowed(row: Conversion) -> bool:
    """Return whether the visitor has not denied that an advertiser gets the conversion."""
    consent = row.consent
    if consent is None:
        return True
    return consent.ad_user_data is not ConsentState.DENIED and not consent.forgotten


def _safe(column: str, text: str) -> str:
    return text if column in ("value", "Conversion Value") else with_escape(text)


def _has_meta_id(row: Conversion) -> bool:
    return bool(row.ip_address) or any(_extra(name)(row) for name in _META_IDS)


FORMATS: Final[Mapping[str, Format]] = {
    "csv": Format(formatter=_csv_formatter, columns=DEFAULT_COLUMNS),
    "jsonl": Format(formatter=_jsonl_formatter),
    "parquet": Format(formatter=_parquet_formatter),
    # Source: Google Ads Help 7014069, import of offline conversions.
    "google-ads": _template(_GOOGLE, lambda row: bool(_extra("gclid")(row)), _UTC_LINE),
    # Source: Microsoft Advertising Help 56852, import of offline conversions.
    "microsoft-ads": _template(_MICROSOFT, lambda row: bool(_extra("msclkid")(row)), _UTC_LINE),
    # Source: Meta, Conversions API, server event parameters; their names as columns.
    "meta-events": _template(_META, _has_meta_id),
}
"""Name of a format, which may be the suffix of a path → the format."""


# Formulas. For everything that writes or reads CSV: exports, dead letters, rejected rows.
#
# Source: OWASP, "CSV Injection".

# A spreadsheet runs a cell that starts with one of these as a formula; with East Asian settings in
# full width, too. Some skip whitespace and invisible characters before it.
_SIGNS = (
    "=+@-" + "\uff1d\uff0b\uff20\uff0d" + "\ufe66\ufe62\ufe6b\ufe63" + "\u207c\u207a\u207b\u2212"
)
_INVISIBLE = (
    r"\s\x00-\x1f\x7f-\xa0\xad\u061c\u115f\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
)
is_formula = re.compile(rf"[\t\r\n]|[{_INVISIBLE}]*[{re.escape(_SIGNS)}]").match
"""Whether a cell begins as a formula does."""

_is_escapable = re.compile(rf"'*(?:[\t\r\n]|[{_INVISIBLE}]*[{re.escape(_SIGNS)}])").match


def with_escape(cell: str) -> str:
    """Return *cell* so that no spreadsheet runs it: ``=1+1`` becomes ``'=1+1``.

    A cell that begins with an apostrophe and a formula gets another one, so that `without_escape`
    returns every cell as it was.
    """
    return f"'{cell}" if _is_escapable(cell) else cell


def without_escape(cell: str) -> str:
    """Return the original of a *cell* that `with_escape` has returned."""
    return cell[1:] if cell[:1] == "'" and _is_escapable(cell) else cell
