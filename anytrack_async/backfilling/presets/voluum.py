"""Voluum: lines for its conversion upload, which have no header."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.vocabulary import type_of
from anytrack_async.models.conversion import ConversionType

_PARAMETERS = {"et": "type", "txid": "transaction id"}


def _parameters(cell: Callable[[str], Any]) -> dict[str, str]:
    """Return the values of ``et`` and ``txid``, which may be written with or without their names.

    ``et=Purchase`` and ``Purchase`` are the type; in ``txid=1001, Purchase``, the names show that
    the two columns are exchanged.
    """
    values = {"type": "", "transaction id": ""}
    for column in values:
        text = str(cell(column) or "").strip()
        name, equals, value = text.partition("=")
        if equals and (parameter := _PARAMETERS.get(name.strip().lower())):
            values[parameter] = value.strip()
        elif not values[column]:
            values[column] = text
    return values


def _add_parameters(fields: dict[str, Any], cell: Callable[[str], Any]) -> None:
    """Set order id and type from ``et`` and ``txid``."""
    values = _parameters(cell)
    if values["transaction id"]:
        fields["order_id"] = values["transaction id"]
    kind = values["type"]
    if not kind or fields.get("event_name"):
        return
    conversion_type = type_of(kind)
    fields["conversion_type"] = conversion_type or ConversionType.CUSTOM
    if conversion_type is None:
        fields["event_name"] = kind


PRESET = FileMapping(
    name="voluum",
    title="Voluum: conversion upload",
    page="https://doc.voluum.com/article/conversion-upload",
    header=("click id", "payout", "type", "transaction id", "time"),
    columns={"click_id": "click id", "timestamp": "time"},
    amounts={"payout": "payout"},
    finish=_add_parameters,
    formats=("iso", "unix"),
    decimal=".",
    notes=(
        (
            "The file has no header line, so it is not recognised: `--preset voluum`. The "
            "columns are click id, payout, type (`et`), transaction id (`txid`) and, if you "
            "have it, the time."
        ),
        "The transaction id is the order id.",
        (
            "Without times, state the time of all rows: `--timestamp`. The file has no "
            "currency: `--currency`."
        ),
        "A negative payout is a correction, and counts as a refund.",
    ),
)
