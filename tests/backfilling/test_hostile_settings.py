"""Wrong values in settings and mappings are errors of this library's that name the field."""

from __future__ import annotations

from typing import Any

import pytest

from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.errors import ConfigurationError
from anytrack_async.feeds.jetstream.feed import JetStreamFeed

HUGE = pytest.param(10**5_000, id="5000 digits")
WRONG: list[Any] = [HUGE, 5, 1.5, b"x", object()]


@pytest.mark.parametrize("field", ["encoding", "day_first", "delimiter", "amount", "to", "won"])
@pytest.mark.parametrize("value", WRONG)
def test_a_setting_of_a_wrong_type_is_named(field, value):
    with pytest.raises(ConfigurationError, match=rf"^{field} must be"):
        BackfillSettings(**{field: value})


@pytest.mark.parametrize("encoding", ["\ud800", "utf\0", "x" * 5_000])
def test_an_encoding_that_no_codec_can_have_is_unknown(encoding):
    with pytest.raises(ConfigurationError, match=r"^encoding .* is unknown"):
        BackfillSettings(encoding=encoding)


@pytest.mark.parametrize(
    "field",
    [
        *("amount", "amounts", "columns", "constants", "translate", "rules", "lift", "rest"),
        *("zones", "formats", "header", "signature", "absent", "notes", "timezone", "day_first"),
    ],
)
@pytest.mark.parametrize("value", WRONG)
def test_an_entry_of_a_wrong_type_is_named(field, value):
    with pytest.raises(ConfigurationError, match=rf"^{field} must be"):
        FileMapping(name="mine", **{field: value})


@pytest.mark.parametrize("amount", [*WRONG, {}, {"plus": 5}, {"sum": "Total"}, [5]])
def test_the_columns_of_an_amount_are_columns(amount):
    with pytest.raises(ConfigurationError, match=r"^amounts: 'net' must be a column"):
        FileMapping(name="mine", amounts={"net": amount})


@pytest.mark.parametrize("field", ["batch", "lease"])
@pytest.mark.parametrize("value", [HUGE, 10**400, float("nan"), float("inf"), "1", None, True, 0])
def test_batch_and_lease_of_a_feed_are_numbers_that_jetstream_can_have(field, value):
    with pytest.raises(ConfigurationError, match=rf"^{field} must be"):
        JetStreamFeed("nats://127.0.0.1", stream="S", **{field: value})
