"""Binom: lines of ``Clickid:Payout:Status:event_1=5``, which have no header."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anytrack_async.backfilling.mapping import FileMapping, RowRule
from anytrack_async.backfilling.vocabulary import type_of

_EVENTS = tuple(f"event {number}" for number in range(1, 31))


def _add_events(fields: dict[str, Any], cell: Callable[[str], Any]) -> None:
    """Add ``event_1=5`` to the custom data; the status may be left out before it."""
    custom = dict(fields.get("custom_data", ()))
    for column in ("Status", *_EVENTS):
        name, equals, value = str(cell(column) or "").partition("=")
        if equals and name.strip():
            custom[name.strip()] = value.strip()
        elif column == "Status" and name.strip():
            custom["status"] = name.strip()
            if not fields.get("event_name") and (kind := type_of(name)):
                fields["conversion_type"] = kind
    if custom:
        fields["custom_data"] = custom


PRESET = FileMapping(
    name="binom",
    title="Binom: update of conversions",
    page="https://docs.binom.org/update-conv.php",
    header=("Clickid", "Payout", "Status", *_EVENTS),
    delimiter=":",
    columns={"click_id": "Clickid"},
    amounts={"payout": "Payout"},
    rules=(
        RowRule(
            columns="Status",
            drop=("rejected", "reject", "declined", "trash", "hold", "pending"),
            refund=("refund", "refunded", "chargeback", "cancelled", "canceled"),
            blank=True,
        ),
    ),
    finish=_add_events,
    decimal=".",
    notes=(
        "The file has no header line, so it is not recognised: `--preset binom`.",
        (
            "It has neither times nor a currency: state the time of all rows, "
            "`--timestamp`, and `--currency`."
        ),
        (
            "It has no order id: the event id is made from the whole line, so that a second "
            "run sends nothing twice."
        ),
    ),
)
