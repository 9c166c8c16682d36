"""The sample: 1,000 made-up conversions as lines of JSON, and how to read such lines.

The lines are made, not stored, so that the wheel needs no data file; one seed always makes the same
bytes. Times are minutes before now (`ago`), so that the sample never gets old; a `note` names
the problem of a line that is bad on purpose.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from itertools import count, islice
from random import Random
from typing import Any

import attrs
import orjson

from anytrack_async.demo.sample_shop import (
    Customer,
    Record,
    local_price,
    make_customers,
    make_meta_cookies,
    make_order,
    make_visit,
    token,
    vary_email,
)
from anytrack_async.errors import AnyTrackError, DecodeError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.plain import to_conversion

LINES = 1000
_SEED = 8442  # with a line that Meta rejects among the first thirty: a short demo shows one
_REPEATED = 24
_CONTRADICTED = 3
_WEEK = 7 * 24 * 60  # minutes
_EVENTS = ("Subscribe", "StartTrial", "Contact", "Schedule", "BookDemo", "Donate", "試用開始")
_PAGES = {"sale": "checkout/thanks", "lead": "contact", "signup": "welcome", "custom": "events"}


@attrs.frozen(kw_only=True)
class InvalidLine:
    """A line that could not be read as a conversion.

    Attributes:
        line: its number, from 1.
        reason: the field and the problem; free of customer data.
        order_id: the order id of the line, where it could be read.
    """

    line: int
    reason: str
    order_id: str | None = None


ReadLine = tuple[int, Conversion] | InvalidLine
"""The number and conversion of a good line, or an invalid one."""


# Reading


def sample(size: int = LINES, *, now: datetime | None = None) -> Iterator[ReadLine]:
    """Return the first *size* lines of the sample, read.

    After its last line the sample starts again. Each further round has order ids of its own; a
    conversion without an order id gets a new event id each time.
    """
    moment = now or datetime.now(UTC)
    rounds = (
        read_lines(
            sample_lines(),
            now=moment,
            suffix=f"~{number}" if number else "",
            start=number * LINES + 1,
        )
        for number in count()
    )
    return islice((line for lines in rounds for line in lines), size)


def read_lines(
    lines: Iterable[str], *, now: datetime, suffix: str = "", start: int = 1
) -> Iterator[ReadLine]:
    """Read *lines* of JSON objects, as `to_conversion` takes them.

    Args:
        lines: JSON objects.
        now: the moment that `ago` counts back from; must carry a time zone.
        suffix: appended to every order and event id, so that the same lines are other orders.
        start: number of the first line.
    """
    for number, text in enumerate(lines, start):
        record: Mapping[str, Any] = {}
        try:
            record = _parse(text)
            yield number, to_conversion(_with_suffix(record, suffix), now=now)
        except AnyTrackError as exc:
            yield InvalidLine(line=number, reason=str(exc), order_id=_printable_order_id(record))


def _parse(text: str) -> Mapping[str, Any]:
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise DecodeError(f"the line is not JSON: {exc.msg}, column {exc.colno}") from None
    if not isinstance(record, dict):
        raise DecodeError(f"the line must be an object, not {type(record).__name__}")
    return record


def _with_suffix(record: Mapping[str, Any], suffix: str) -> Mapping[str, Any]:
    if not suffix:
        return record
    ids = {name: record[name] for name in ("order_id", "event_id") if record.get(name)}
    return {**record, **{name: f"{value}{suffix}" for name, value in ids.items()}}


def _printable_order_id(record: Mapping[str, Any]) -> str | None:
    # An id with control characters must not reach the terminal.
    order_id = record.get("order_id")
    return order_id if isinstance(order_id, str) and order_id.isprintable() else None


# Making


@cache
def sample_lines() -> tuple[str, ...]:
    """Return the 1,000 lines of the sample, without line ends."""
    random = Random(_SEED)
    invalid = [*_invalid_lines(random), *_rejected_lines(random)]
    lines = _valid_lines(random, LINES - len(invalid) - _CONTRADICTED - _REPEATED)
    # Not among the first five lines: a demo starts with good ones.
    for text in invalid:
        lines.insert(random.randrange(5, len(lines)), text)
    _contradict(random, lines, _CONTRADICTED)
    _repeat(random, lines, _REPEATED)
    return tuple(lines)


def _to_line(record: Record) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _valid_lines(random: Random, number: int) -> list[str]:
    # 430 customers for 943 conversions: many come back.
    customers = make_customers(random, 430)
    customers = [*customers, *random.choices(customers, k=number - len(customers))]
    random.shuffle(customers)
    records = (_record(random, customer, index) for index, customer in enumerate(customers))
    return [_to_line(record) for record in records]


def _record(random: Random, customer: Customer, number: int) -> Record:
    kind = random.choices(("sale", "lead", "signup", "custom"), (55, 22, 13, 10))[0]
    record: Record = {"conversion_type": kind}
    if kind == "custom":
        record["event_name"] = random.choice(_EVENTS)
    record |= _ids(random, kind, number)
    record |= _value(random, kind, customer)
    # Most are recent; none gets close to the 7 days that Meta accepts.
    record["ago"] = int(random.triangular(1, _WEEK - 1500, 1))
    record |= make_visit(random, customer.place, _PAGES[kind])
    record |= _contact(random, customer)
    if random.random() < 0.2:
        record["custom_data"] = _custom_data(random, kind)
    if not _has_match_key(record):
        record["ip_address"] = customer.ip_address
    return record


def _ids(random: Random, kind: str, number: int) -> Record:
    """Return an order id, an event id, or, for about every tenth conversion, neither."""
    chance = random.random()
    if chance < 0.06 or (kind != "sale" and chance < 0.3):
        return {}
    if chance < 0.12:
        return {"event_id": f"evt-{number:04}-{token(random, 8)}"}
    common = (f"{20_000 + number}", f"A-{20_000 + number}", f"2026/{number:06}", f"#{number:05}")
    rare = (f"注文-{number}", f"ord_{token(random, 10)}", f"INV {number}", f"Å{number}:b")
    return {"order_id": random.choice(common if random.random() < 0.9 else rare)}


def _value(random: Random, kind: str, customer: Customer) -> Record:
    currency = customer.place.currency
    if kind == "sale":
        items, total = make_order(random, customer.place)
        value: Record = {"revenue": total, "currency": currency}
        return value | ({"items": items} if random.random() < 0.4 else {})
    if random.random() < 0.4:
        return {}
    amount = local_price(customer.place, Decimal(random.choice((5, 10, 25, 40))))
    return {"revenue": random.choice((str(amount), float(amount))), "currency": currency}


def _contact(random: Random, customer: Customer) -> Record:
    record: Record = {"ip_address": customer.ip_address} if random.random() < 0.6 else {}
    if random.random() < 0.06:
        return record
    fields: Record = dict(customer.fields)
    fields["email"] = vary_email(random, customer.fields["email"])
    # 12 % without an address, 3 % with a useless one, 3 % with two.
    chance = random.random()
    if chance < 0.12:
        del fields["email"]
    elif chance < 0.15:
        fields["email"] = random.choice(("n/a", "-", "none@", ""))
    elif chance < 0.18:
        fields["email"] = [fields["email"], f"second.{token(random, 5).lower()}@example.net"]
    if random.random() < 0.25:
        fields |= make_meta_cookies(random)
    return {**record, "customer": fields}


def _has_match_key(record: Record) -> bool:
    """Return whether Meta can match the customer; without a key it rejects the event."""
    customer = record.get("customer", {})
    return (
        "ip_address" in record
        or "fbclid" in record.get("page_url", "")
        or "@example" in str(customer.get("email", ""))
        or any(name in customer for name in ("phone", "external_id", "fbp", "fbclid"))
    )


def _custom_data(random: Random, kind: str) -> Record:
    # All four are made each time: the order of the random numbers decides the bytes.
    choices: dict[str, Record] = {
        "sale": {"coupon": random.choice(("WELCOME10", "ÉTÉ-2026", "新春")), "gift": True},
        "lead": {"lead_id": f"L-{random.randrange(10**5):05}", "score": random.randrange(1, 100)},
        "signup": {"plan": random.choice(("free", "pro")), "seats": random.randrange(1, 9)},
        "custom": {"tags": ["webinar", "demo"], "room": {"name": "Änglagård", "floor": 2}},
    }
    return choices[kind]


def _sale(random: Random, note: str, **changes: Any) -> str:
    """Return the line of a sale with *changes*; a change to None removes the field."""
    number = random.randrange(10**6)
    record = {
        "conversion_type": "sale",
        "order_id": f"T-{number:06}",
        "revenue": "49.90",
        "currency": "EUR",
        "ago": random.randrange(5, 3000),
        "click_id": f"at_{token(random, 18)}",
        "customer": {"email": f"visitor.{number}@example.com"},
    }
    record |= changes
    fields = {name: value for name, value in record.items() if value is not None}
    return _to_line(fields | {"note": note})


def _invalid_lines(random: Random) -> Iterator[str]:
    """Yield lines that cannot be read as a conversion."""
    yield _sale(random, "a refund is not a sale", revenue="-49.90")
    yield _sale(random, "a refund is not a sale", revenue=-7)
    yield _sale(random, "decimal comma", revenue="12,50")
    yield _sale(random, "currency in words", currency="euros")
    yield _sale(random, "currency as a sign", currency="€")
    yield _sale(random, "type of another system", conversion_type="purchase")
    yield _sale(random, "no type", conversion_type=None)
    yield _sale(random, "event id between blanks", event_id=" evt ")
    yield _sale(random, "line break in an order id", order_id="T-17\n18")
    yield _sale(random, "an item with quantity 0", items=[{"id": "SKU-1001", "quantity": 0}])
    yield _sale(
        random, "a customer's field of another system", customer={"mail": "jane@example.com"}
    )
    yield _sale(random, "a field of another system", amount="49.90", revenue=None)
    # The last two are not JSON: a line that is cut off, and a line of CSV.
    yield _sale(random, "the file broke off here")[:-9]
    yield f"T-{random.randrange(10**6):06},sale,49.90,EUR"


def _rejected_lines(random: Random) -> Iterator[str]:
    """Yield conversions that a single service rejects."""
    for days in (8, 9, 14, 30, 62):
        yield _sale(random, "Meta: older than 7 days", ago=days * 24 * 60 + 5)
    note = "Meta: too little to match the customer by"
    yield _sale(random, note, customer=None)
    yield _sale(random, note, customer={"city": "Köln", "country": "DE"})
    yield _sale(random, note, customer={"first_name": "Ελευθερία", "gender": "f"})
    yield _sale(random, note, customer={"email": "unknown", "phone": "-"})
    yield _sale(random, note, customer={"birth_date": "1988-04-30"}, user_agent="Mozilla/5.0")
    note = "HubSpot: the portal does not have this currency"
    for currency in ("MXN", "TRY", "ZAR", "THB", "KRW", "CZK"):
        yield _sale(random, note, currency=currency, revenue="1490")


def _orders(lines: list[str]) -> list[Record]:
    """Return the valid records in *lines* that have an order id."""
    return [json.loads(text) for text in lines if '"note"' not in text and '"order_id"' in text]


def _contradict(random: Random, lines: list[str], number: int) -> None:
    sales = [order for order in _orders(lines[:400]) if order["conversion_type"] == "sale"]
    for order in random.sample(sales, number):
        revenue = str(Decimal(order["revenue"]) + 100)
        note = f"order {order['order_id']} again, with another amount"
        other = order | {"revenue": revenue, "note": note}
        _insert_after(random, lines, _to_line(order), _to_line(other))


def _repeat(random: Random, lines: list[str], number: int) -> None:
    for order in random.sample(_orders(lines), number):
        _insert_after(random, lines, _to_line(order), _to_line(order))


def _insert_after(random: Random, lines: list[str], first: str, text: str) -> None:
    lines.insert(random.randrange(lines.index(first) + 1, len(lines) + 1), text)
