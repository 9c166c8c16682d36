"""Files in the shape of Shopify's export, for the benchmarks of back-filling."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SHOWN = {
    "Financial Status": "paid",
    "Paid at": "2026-05-01 10:00:00 +0200",
    "Created at": "2026-05-01 09:59:58 +0200",
    "Fulfillment Status": "fulfilled",
    "Accepts Marketing": "no",
    "Currency": "EUR",
    "Subtotal": "45.00",
    "Shipping": "4.90",
    "Taxes": "7.97",
    "Total": "49.90",
    "Shipping Method": "Standard",
    "Lineitem quantity": "1",
    "Lineitem name": "Shirt - M",
    "Lineitem price": "45.00",
    "Billing Street": "Street 1",
    "Billing City": "Berlin",
    "Billing Zip": "'10115",
    "Billing Province": "BE",
    "Billing Country": "DE",
    "Shipping City": "Berlin",
    "Shipping Country": "DE",
    "Payment Method": "Shopify Payments",
    "Refunded Amount": "0.00",
    "Vendor": "Acme",
    "Risk Level": "Low",
    "Source": "web",
    "Tax 1 Name": "VAT 19%",
    "Tax 1 Value": "7.97",
}
COLUMNS = (
    *("Name", "Email", "Id", "Billing Name", "Billing Phone", "Lineitem sku", "Note Attributes"),
    *_SHOWN,
    *(f"Column {number}" for number in range(44)),  # a real export has 79, most of them blank
)


def order(number: int) -> dict[str, str]:
    """Return the row of order *number*."""
    return {
        **_SHOWN,
        "Name": f"#{1000 + number}",
        "Email": f"customer.{number}@example.com",
        "Id": str(5_000_000 + number),
        "Billing Name": f"Ann Example{number}",
        "Billing Phone": f"+49170{number:07}",
        "Lineitem sku": f"SKU-{number % 97}",
        "Note Attributes": f"fbclid: IwAR{number}\nlocale: de" if number % 3 == 0 else "",
    }


@contextmanager
def orders_file(count: int, form: str = "csv") -> Iterator[Path]:
    """Write *count* orders to a temporary file: ``csv``, ``jsonl``, ``json`` or ``parquet``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"orders.{form}"
        if form == "parquet":
            _write_parquet(path, count)
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                file.writelines(_lines(count, form, file))
        yield path


def _lines(count: int, form: str, file: object) -> Iterator[str]:
    if form == "csv":
        writer = csv.DictWriter(file, COLUMNS, restval="")  # type: ignore[type-var]
        writer.writeheader()
        writer.writerows(map(order, range(count)))
        return
    yield "[" if form == "json" else ""
    for number in range(count):
        between = ("," if form == "json" else "") + "\n" if number else ""
        yield between + json.dumps(order(number))
    yield "]" if form == "json" else "\n"


def _write_parquet(path: Path, count: int) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, pyarrow.string()) for name in order(0)])
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, count, 10_000):
            rows = [order(number) for number in range(start, min(start + 10_000, count))]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
