"""Files and readings for the tests of back-filling."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from anytrack_async import BackfillSettings, Conversion, Reject, read_conversions
from anytrack_async.backfilling.report import RowCounts

GOLDEN = Path(__file__).parent.parent / "data" / "backfill"
SHOPS = Path(__file__).parent.parent / "data" / "backfill_shops"

SHOPIFY = (
    *("Name", "Email", "Financial Status", "Paid at", "Currency", "Subtotal", "Total"),
    *("Created at", "Lineitem quantity", "Lineitem name", "Lineitem price", "Lineitem sku"),
    *("Billing Name", "Billing Zip", "Billing Country", "Note Attributes", "Refunded Amount"),
    *("Id", "Phone"),
)


def shopify_row(number: int, **changes: str) -> dict[str, str]:
    """A paid order with one line item; *changes* have `_` for blanks in names of columns."""
    row = {
        "Name": f"#{number}",
        "Email": f"customer.{number}@example.com",
        "Financial Status": "paid",
        "Paid at": "2026-05-01 10:00:00 +0200",
        "Currency": "EUR",
        "Total": "49.90",
        "Lineitem quantity": "1",
        "Lineitem name": "Shirt",
        "Lineitem price": "49.90",
        "Lineitem sku": f"SKU-{number % 7}",
        "Billing Zip": "'01234",
        "Id": f"{5_000_000 + number}",
    }
    return row | {name.replace("_", " "): value for name, value in changes.items()}


def csv_text(
    rows: Iterable[dict[str, str]], columns: Sequence[str] = SHOPIFY, delimiter: str = ","
) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path, rows: Iterable[dict[str, str]], **options: Any) -> Path:
    path.write_text(csv_text(rows, **options), encoding="utf-8", newline="")
    return path


class Result:
    """What reading some files gave."""

    def __init__(self) -> None:
        self.conversions: list[Conversion] = []
        self.rejects: list[Reject] = []
        self.counts = RowCounts()
        self.formats: list[str] = []
        self.presets: list[str] = []

    @property
    def reasons(self) -> list[str]:
        return [str(reject) for reject in self.rejects]


async def read(source: Any, *, settings: BackfillSettings | None = None, **options: Any) -> Result:
    """Read *source* to its end."""
    result = Result()
    reader = read_conversions(source, settings=settings, **options)
    async for row in reader:
        if isinstance(row, Reject):
            result.rejects.append(row)
        else:
            result.conversions.append(row)
    result.counts = reader.counts
    result.formats = [info.format for info in reader.sources]
    result.presets = [info.preset for info in reader.sources]
    return result
