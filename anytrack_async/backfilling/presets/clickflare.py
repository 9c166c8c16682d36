"""ClickFlare: lines for its conversion upload, which have no header."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.vocabulary import type_of
from anytrack_async.models.conversion import ConversionType


def _add_type(fields: dict[str, Any], cell: Callable[[str], Any]) -> None:
    """Set the type from its column, unless it is blank or the row is a refund."""
    name = str(cell("conversion type") or "").strip()
    if not name or fields.get("event_name"):
        return
    kind = type_of(name)
    fields["conversion_type"] = kind or ConversionType.CUSTOM
    if kind is None:
        fields["event_name"] = name


PRESET = FileMapping(
    name="clickflare",
    title="ClickFlare: conversion upload",
    page="https://help.clickflare.io/en/settings/conversion-upload",
    header=("click id", "payout", "transaction id", "conversion type", "timestamp"),
    columns={"click_id": "click id", "order_id": "transaction id", "timestamp": "timestamp"},
    amounts={"payout": "payout"},
    formats=("iso", "unix"),
    decimal=".",
    finish=_add_type,
    notes=(
        "The file has no header line, so it is not recognised: `--preset clickflare`.",
        "It has no currency: `--currency`. Times without a zone need `--timezone`.",
    ),
)
