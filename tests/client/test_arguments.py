"""Whatever a caller passes, an error is one of this library's and names the argument.

The values are those that Python itself stumbles over: halves of surrogate pairs, which cannot be
encoded, and numbers of more than 4,300 digits, which have no text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args, is_typeddict

import attrs
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    Customer,
    DeliverySettings,
    HttpSettings,
    HubSpotSettings,
    LineItem,
    MemoryOutbox,
    MetaSettings,
    Retry,
    SQLiteOutbox,
)
from anytrack_async.destinations.meta.click_ids import (
    fbc,
)
from anytrack_async.errors import (
    AnyTrackError,
    ConfigurationError,
    InvalidArgumentError,
    InvalidConversionError,
)
from anytrack_async.models.conversion import ARGUMENTS
from anytrack_async.models.meta import MetaFields
from anytrack_async.models.plain import to_conversion
from tests.client.service import Service

HUGE = 10**5_000


class Number(int):
    """An integer of another library."""


class Text(str):
    __slots__ = ()


HOSTILE: dict[str, Any] = {
    "huge": HUGE,
    "huge and negative": -HUGE,
    "a huge number of another type": Number(HUGE),
    "a huge fraction": Fraction(HUGE, 3),
    "a small fraction": Fraction(1, HUGE),
    "a huge decimal": Decimal("1e999999"),
    "a signalling NaN": Decimal("sNaN"),
    "infinite": float("inf"),
    "digits": "9" * 5_000,
    "a huge exponent": "1e999999999",
    "half a pair": "\ud800",
    "text with half a pair": "a\udfffb",
    "text of another type": Text("x\ud800"),
    "a list": [HUGE, "\ud800"],
    "a mapping": {"a": HUGE, "\ud800": "\udc00"},
    "keys": {HUGE: 1},
    "nested": {"a": {"b": [HUGE, "\udc00"]}},
    "bytes": b"\xff",
    "a long time": timedelta.max,
    "a late time": datetime.max.replace(tzinfo=UTC),
    "an object": object(),
}


def problem_of(call: Callable[[], Any]) -> AnyTrackError | None:
    """Return the error of *call*, which must be one of this library's, and printable."""
    try:
        call()
    except AnyTrackError as error:
        return printable(error)
    return None


def printable(error: AnyTrackError) -> AnyTrackError:
    """Return *error*, which any log can hold."""
    assert f"{error} {error!r}".encode()
    return error


# Models


def fields() -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Yield each field of each model, with a function that sets it."""
    for model, needed in (
        (Conversion, {"conversion_type": "sale"}),
        (LineItem, {"id": "1"}),
        (Customer, {}),
    ):
        for field in attrs.fields(model):
            if field.init:
                yield (
                    f"{model.__name__}.{field.alias}",
                    lambda value, model=model, needed=needed, name=field.alias: model(
                        **(needed | {name: value})
                    ),
                )
    for name in ARGUMENTS:
        yield (
            f"a line's {name}",
            lambda value, name=name: to_conversion({"conversion_type": "lead", name: value}),
        )
    yield "a line's ago", lambda value: to_conversion({"conversion_type": "lead", "ago": value})
    yield "a line's key", lambda value: to_conversion(line_with_key(value))
    for group, hint in MetaFields.__annotations__.items():
        parameters = get_args(hint)[0] if get_args(hint) else hint
        yield f"meta.{group}", lambda value, group=group: Conversion.lead(meta={group: value})
        for name in parameters.__annotations__ if is_typeddict(parameters) else ():
            yield (
                f"meta.{group}.{name}",
                lambda value, group=group, name=name: Conversion.lead(meta={group: {name: value}}),
            )
    yield "product_id", lambda value: Conversion.sale(revenue=1, product_id=value)
    yield "lead_id", lambda value: Conversion.lead(lead_id=value)
    yield "event_name", lambda value: Conversion.custom(value)


def line_with_key(key: Any) -> dict[Any, Any]:
    try:
        return {"conversion_type": "lead", key: 1}
    except TypeError:  # not hashable
        return {"conversion_type": "lead", "unknown": 1}


FIELDS = dict(fields())


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_raises_our_error_that_names_it(field: str):
    for value in HOSTILE.values():
        error = problem_of(lambda value=value: FIELDS[field](value))
        assert error is None or isinstance(error, InvalidConversionError)
        if error is not None and field.startswith(("Conversion.", "LineItem.", "Customer.")):
            assert error.name.split(".")[0] == field.rpartition(".")[2]


# Hypothesis prints what it draws, which a huge integer refuses: names and digits are drawn instead.
hostile = st.one_of(
    st.sampled_from(sorted(HOSTILE)).map(lambda name: HOSTILE[name]),
    st.text(st.characters(categories=["Cs", "Lu"]), min_size=1),
    st.integers(4_300, 6_000).map(lambda digits: 10**digits),
    st.integers(4_300, 6_000).map(lambda digits: -(10**digits)),
    st.integers(min_value=2**62),
)
nested = st.recursive(
    hostile,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text() | st.integers(), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.sampled_from(sorted(FIELDS)), nested)
def test_no_value_of_a_field_raises_anything_else(field: str, value: Any):
    error = problem_of(lambda: FIELDS[field](value))

    assert error is None or isinstance(error, InvalidConversionError)


# Settings

SETTINGS: dict[type, Mapping[str, Any]] = {
    HttpSettings: {},
    Retry: {},
    DeliverySettings: {},
    MetaSettings: {"pixel_id": "1", "access_token": "t"},
    HubSpotSettings: {"access_token": "t"},
}


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("cls", SETTINGS)
def test_a_setting_raises_a_configuration_error(cls: type, value: str):
    for field in attrs.fields(cls):  # type: ignore[arg-type]
        error = problem_of(lambda name=field.name: cls(**{**SETTINGS[cls], name: HOSTILE[value]}))
        assert error is None or isinstance(error, ConfigurationError)


@pytest.mark.parametrize("value", HOSTILE)
def test_arguments_of_constructors_raise_our_errors(value: str):
    hostile_value = HOSTILE[value]
    for argument in ("api_key", "account_id", "base_url"):
        options = {"api_key": "k", "account_id": "a", argument: hostile_value}
        error = problem_of(lambda options=options: AnyTrackClient(**options))
        assert error is None or isinstance(error, ConfigurationError)
    for argument in ("http", "delivery", "sinks", "observers"):
        problem_of(lambda name=argument: AnyTrackClient("k", "a", **{name: hostile_value}))
    problem_of(lambda: MemoryOutbox(capacity=hostile_value))
    problem_of(lambda: SQLiteOutbox("outbox.db", capacity=hostile_value))
    problem_of(lambda: fbc(hostile_value, datetime.now(UTC)))
    problem_of(lambda: fbc("AbC", hostile_value))


# Calls

SALE = Conversion.sale(revenue=1, order_id="1")
CALLS: dict[str, Callable[[AnyTrackClient, Any], Any]] = {
    "revenue": lambda client, value: client.track_sale(click_id="1", revenue=value),
    "product_id": lambda client, value: client.track_sale(revenue=1, product_id=value),
    "lead_id": lambda client, value: client.track_lead(lead_id=value),
    "timeout": lambda client, value: client.track_conversion(SALE, timeout=value),
    "to": lambda client, value: client.submit(SALE, to=[value]),
    "in_flight": lambda client, value: client.track_many([], in_flight=value),
    "at": lambda client, value: client.track_many([], at=[value]),
    "date_range": lambda client, value: client.get_conversions((value, value)),
    "source": lambda client, value: client.get_conversions(source=value),
    "campaign_id": lambda client, value: client.stream_conversions(campaign_id=value),
    "source of": lambda client, value: client.get_conversions_by_source(value),
    "conversion_id": lambda client, value: client.get_conversion_details(value),
    "conversion_id of": lambda client, value: client.calculate_attribution(value),
    "conversion_id at": lambda client, value: client.get_touchpoints(value),
    "affiliate_id": lambda client, value: client.get_affiliate_performance(value),
    "limit": lambda client, value: client.get_top_affiliates(limit=value),
    "metric": lambda client, value: client.get_top_affiliates(metric=value),
    "day": lambda client, value: client.get_daily_report(value),
    "window": lambda client, value: client.conversions.stream(RANGE, window=value),
    "concurrency": lambda client, value: client.conversions.stream(RANGE, concurrency=value),
    "concurrency of days": lambda client, value: client.reports.days(RANGE, concurrency=value),
    "destination": lambda client, value: client.replay(value),
    "event_ids": lambda client, value: client.replay("anytrack", [value]),
    "event_ids of reports": lambda client, value: client.outbox.reports([value]),
    "limit of dead letters": lambda client, value: client.outbox.dead_letters(limit=value),
    "after": lambda client, value: client.outbox.dead_letters(after=value),
    "destination of dead letters": lambda client, value: client.outbox.dead_letters(value),
    "destination of undelivered": lambda client, value: client.outbox.undelivered(value),
    "limit of undelivered": lambda client, value: client.outbox.undelivered(
        "anytrack", limit=value
    ),
    "destination to forget": lambda client, value: client.outbox.forget(value),
    "remember": lambda client, value: client.outbox.prune(remember=value),
}
RANGE = (date(2026, 1, 1), date(2026, 1, 2))


def no_data(request: httpx.Request) -> httpx.Response:
    empty = "reports" in request.url.path or request.url.path.count("/") > 3
    return httpx.Response(200, json={"data": {} if empty else []})


class Reading(Service):
    """AnyTrack with no data; the path decides whether a list or an object is missing."""

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return no_data(request)
        return await super().__call__(request)


async def error_of(argument: str, client: AnyTrackClient, value: Any) -> AnyTrackError | None:
    try:
        call = CALLS[argument](client, value)
        if hasattr(call, "__anext__"):
            await anext(call, None)
        else:
            await call
    except AnyTrackError as error:
        return printable(error)
    return None


@pytest.mark.asyncio
@pytest.mark.parametrize("engine", ["memory", "sqlite"])
@pytest.mark.parametrize("argument", CALLS)
async def test_an_argument_of_a_call_raises_our_error(argument: str, engine: str, tmp_path: Path):
    outbox = SQLiteOutbox(tmp_path / "a.db") if engine == "sqlite" else MemoryOutbox()
    async with Reading().client(outbox=outbox) as client:
        for value in HOSTILE.values():
            error = await error_of(argument, client, value)
            if isinstance(error, InvalidArgumentError):
                assert error.name == argument.split()[0]
