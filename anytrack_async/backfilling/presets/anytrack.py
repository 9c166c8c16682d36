"""Our own files: the export of conversions as CSV or JSON Lines, and the lines of the demo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from anytrack_async.backfilling.mapping import FileMapping, normalised
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.plain import to_conversion

_FIELDS = frozenset(field.name for field in attrs.fields(Conversion))
_COLUMNS = tuple(field.name for field in attrs.fields(Conversion))


def _from_export(record: Mapping[str, Any]) -> Conversion:
    # Further columns are a user's own.
    cells = ((normalised(name), value) for name, value in record.items())
    fields = {name: value for name, value in cells if name in _FIELDS}
    if "event_id" not in fields and "order_id" not in fields and "id" in fields:
        fields["event_id"] = f"anytrack:{fields['id']}"
    return to_conversion(fields)


EXPORT = FileMapping(
    name="anytrack",
    title="AnyTrack: export of conversions",
    signature=("conversion_type", "timestamp", ("event_id", "order_id", "id")),
    columns={name: name for name in ("order_id", "event_id", "timestamp", "currency")},
    amounts="revenue",
    decimal=".",
    escaped=True,
    record=_from_export,
    notes=(
        (
            "A row with neither `event_id` nor `order_id` has the id `anytrack:<id>`. It is not "
            "sent to AnyTrack, which has it, unless `--to` names AnyTrack."
        ),
        (
            "Other destinations know it by another id if they got it when it was tracked: name "
            "with `--to` those that did not."
        ),
    ),
)

DEMO = FileMapping(
    name="demo",
    title="JSON Lines of conversions, as `anytrack demo` has them",
    signature=("conversion_type", "ago"),
    columns={name: name for name in ("order_id", "event_id", "currency")},
    amounts="revenue",
    decimal=".",
    record=to_conversion,
    notes=("`ago` is how many minutes before the back-fill the conversion happened.",),
)

PRESETS = (EXPORT, DEMO)
