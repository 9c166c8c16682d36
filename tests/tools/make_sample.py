"""Writes the 1,000 made-up conversions of `anytrack demo`: `make_sample.py > sample.jsonl`.

The same seed gives the same bytes. Times are minutes before now (`ago`), so that the file stays
fresh; a `note` says what is wrong with a line on purpose.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any

from sample_people import Person, make_people, respelt
from sample_shop import basket, cookies, money, token, visit

Record = dict[str, Any]

LINES = 1000
_WEEK = 7 * 24 * 60
_EVENTS = ("Subscribe", "StartTrial", "Contact", "Schedule", "BookDemo", "Donate", "試用開始")
_PAGES = {"sale": "checkout/thanks", "lead": "contact", "signup": "welcome", "custom": "events"}


def make_sample(seed: int = 8400) -> list[str]:
    """Return the lines of the sample, without line ends."""
    random = Random(seed)
    broken = [*_unreadable(random), *_unwanted(random)]
    good = _good_lines(random, LINES - len(broken) - 3 - 24)
    lines = [_line(record) for record in good]
    for text in broken:
        lines.insert(random.randrange(5, len(lines)), text)
    _contradict(random, lines, 3)
    _repeat(random, lines, 24)
    return lines


def _line(record: Record) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


# What is right


def _good_lines(random: Random, count: int) -> list[Record]:
    people = make_people(random, 430)
    visitors = [*people, *random.choices(people, k=count - len(people))]
    random.shuffle(visitors)
    return [_conversion(random, person, number) for number, person in enumerate(visitors)]


def _conversion(random: Random, person: Person, number: int) -> Record:
    kind = random.choices(("sale", "lead", "signup", "custom"), (55, 22, 13, 10))[0]
    record: Record = {"conversion_type": kind}
    if kind == "custom":
        record["event_name"] = random.choice(_EVENTS)
    record |= _key(random, kind, number)
    record |= _worth(random, kind, person)
    record["ago"] = int(random.triangular(1, _WEEK - 1500, 1))
    record |= visit(random, person["place"], _PAGES[kind])
    record |= _who(random, person)
    if random.random() < 0.2:
        record["custom_data"] = _details(random, kind)
    if not _is_known(record):
        record["ip_address"] = person["ip"]
    return record


def _key(random: Random, kind: str, number: int) -> Record:
    chance = random.random()
    if chance < 0.06 or (kind != "sale" and chance < 0.3):
        return {}
    if chance < 0.12:
        return {"event_id": f"evt-{number:04}-{token(random, 8)}"}
    forms = (f"{20_000 + number}", f"A-{20_000 + number}", f"2026/{number:06}", f"#{number:05}")
    rare = (f"注文-{number}", f"ord_{token(random, 10)}", f"INV {number}", f"Å{number}:b")
    return {"order_id": random.choice(forms if random.random() < 0.9 else rare)}


def _worth(random: Random, kind: str, person: Person) -> Record:
    place = person["place"]
    if kind == "sale":
        items, total = basket(random, place)
        worth: Record = {"revenue": total, "currency": place.currency}
        return worth | ({"items": items} if random.random() < 0.4 else {})
    if random.random() < 0.4:
        return {}
    value = money(place, Decimal(random.choice((5, 10, 25, 40))))
    return {"revenue": random.choice((str(value), float(value))), "currency": place.currency}


def _who(random: Random, person: Person) -> Record:
    found: Record = {"ip_address": person["ip"]} if random.random() < 0.6 else {}
    if random.random() < 0.06:
        return found
    customer = dict(person["customer"])
    customer["email"] = respelt(random, customer["email"])
    chance = random.random()
    if chance < 0.12:
        del customer["email"]
    elif chance < 0.15:
        customer["email"] = random.choice(("n/a", "-", "none@", ""))
    elif chance < 0.18:
        customer["email"] = [customer["email"], f"second.{token(random, 5).lower()}@example.net"]
    if random.random() < 0.25:
        customer |= cookies(random)
    return {**found, "customer": customer}


def _is_known(record: Record) -> bool:
    customer = record.get("customer", {})
    by_click = "fbclid" in record.get("page_url", "")
    enough = ("phone", "external_id", "fbp", "fbclid")
    by_email = "@example" in str(customer.get("email", ""))
    return "ip_address" in record or by_click or by_email or any(n in customer for n in enough)


def _details(random: Random, kind: str) -> Record:
    own = {
        "sale": {"coupon": random.choice(("WELCOME10", "ÉTÉ-2026", "新春")), "gift": True},
        "lead": {"lead_id": f"L-{random.randrange(10**5):05}", "score": random.randrange(1, 100)},
        "signup": {"plan": random.choice(("free", "pro")), "seats": random.randrange(1, 9)},
        "custom": {"tags": ["webinar", "demo"], "room": {"name": "Änglagård", "floor": 2}},
    }
    return own[kind]


# What is wrong on purpose


def _sale(random: Random, note: str, **changes: Any) -> Record:
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
    return {name: value for name, value in record.items() if value is not None} | {"note": note}


def _unreadable(random: Random) -> Iterator[str]:
    """Lines that are no conversion."""
    yield _line(_sale(random, "a refund is no sale", revenue="-49.90"))
    yield _line(_sale(random, "a refund is no sale", revenue=-7))
    yield _line(_sale(random, "decimal comma", revenue="12,50"))
    yield _line(_sale(random, "currency in words", currency="euros"))
    yield _line(_sale(random, "currency as a sign", currency="€"))
    yield _line(_sale(random, "type of another system", conversion_type="purchase"))
    yield _line(_sale(random, "no type", conversion_type=None))
    yield _line(_sale(random, "empty order id", order_id=""))
    yield _line(_sale(random, "blank in a click id", click_id=" at_7Xk2"))
    yield _line(_sale(random, "none of an item", items=[{"id": "SKU-1001", "quantity": 0}]))
    yield _line(_sale(random, "a number for an e-mail address", customer={"email": 49.9}))
    yield _line(_sale(random, "a field of another system", amount="49.90", revenue=None))
    yield _line(_sale(random, "the file broke off here"))[:-9]
    yield f"T-{random.randrange(10**6):06},sale,49.90,EUR"


def _unwanted(random: Random) -> Iterator[str]:
    """Conversions that one service refuses."""
    for days in (8, 9, 14, 30, 62):
        yield _line(_sale(random, "Meta: older than 7 days", ago=days * 24 * 60 + 5))
    alone = "Meta: too little to know the customer by"
    yield _line(_sale(random, alone, customer=None))
    yield _line(_sale(random, alone, customer={"city": "Köln", "country": "DE"}))
    yield _line(_sale(random, alone, customer={"first_name": "Ελευθερία", "gender": "f"}))
    yield _line(_sale(random, alone, customer={"email": "unknown", "phone": "-"}))
    yield _line(
        _sale(random, alone, customer={"birth_date": "1988-04-30"}, user_agent="Mozilla/5.0")
    )
    for currency in ("MXN", "TRY", "ZAR", "THB", "KRW", "CZK"):
        note = "HubSpot: the portal does not have this currency"
        yield _line(_sale(random, note, currency=currency, revenue="1490"))


# What comes twice


def _orders(lines: list[str]) -> Iterator[tuple[int, Record]]:
    for at, text in enumerate(lines):
        if '"note"' not in text and '"order_id"' in text:
            yield at, json.loads(text)


def _contradict(random: Random, lines: list[str], count: int) -> None:
    sales = [order for _, order in _orders(lines[:400]) if order["conversion_type"] == "sale"]
    for order in random.sample(sales, count):
        other = {"revenue": str(Decimal(order["revenue"]) + 100)}
        note = {"note": f"order {order['order_id']} again, with another amount"}
        _insert_after(random, lines, _line(order), _line(order | other | note))


def _repeat(random: Random, lines: list[str], count: int) -> None:
    for _, order in random.sample(list(_orders(lines)), count):
        _insert_after(random, lines, _line(order), _line(order))


def _insert_after(random: Random, lines: list[str], first: str, text: str) -> None:
    lines.insert(random.randrange(lines.index(first) + 1, len(lines) + 1), text)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    print("\n".join(make_sample()))
