"""The made-up customers of the sample. Nobody real: example domains and reserved numbers only."""

from __future__ import annotations

import unicodedata
from random import Random
from typing import Any

from sample_places import PLACES, Place

Person = dict[str, Any]

_DOMAINS = ("example.com", "example.org", "example.net")
_WORDS = ("amber", "birch", "cobalt", "delta", "ember", "fjord", "grove", "harbour", "indigo")
_BEASTS = ("otter", "lynx", "heron", "badger", "marten", "wren", "ibex", "newt")
# Only numbers that the countries keep for films and examples.
_PHONES = {
    "US": (
        "+1 212 555 01{n:02}",
        "+121255501{n:02}",
        "(312) 555-01{n:02}",
        "1-415-555-01{n:02}",
        "001 206 555 01{n:02}",
        "617.555.01{n:02}",
        "+1 (512) 555-01{n:02} ",
    ),
    "GB": (
        "+44 20 7946 0{n:03}",
        "020 7946 0{n:03}",
        "+44 (0)7700 900{n:03}",
        "07700 900{n:03}",
        "00447700900{n:03}",
    ),
    "DE": (
        "+49 30 23125{n:03}",
        "030/23125-{n:03}",
        "+49 (0)30 23125 {n:03}",
        "0049-3023125{n:03}",
    ),
    "FR": ("+33 1 99 00 {n:02} 34", "01.99.00.{n:02}.56", "06 39 98 {n:02} 78", "+33639981{n:02}0"),
    "AU": ("+61 491 570 156", "0491 570 157", "+61 (0)491-570-158", "0491570159"),
    "SE": ("+46 70 174 06 {s:02}", "070-17406{s:02}", "0046 70 174 06 {s:02}"),
}
_PHONES["CA"] = ("+1 514-555-01{n:02}", "(306) 555 01{n:02}", "1.514.555.01{n:02}")
_ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_WIDE = str.maketrans("0123456789+- ()", "０１２３４５６７８９＋－　（）")
_GENDERS = ("f", "m", "F", "male", "Female", "w", "")


def make_people(random: Random, count: int) -> list[Person]:
    """Return *count* customers, each with what a shop may know of them."""
    weights = [place.weight for place in PLACES]
    # Each place at least twice, so that no script is missing.
    places = [*PLACES, *PLACES, *random.choices(PLACES, weights, k=count - 2 * len(PLACES))]
    return [_person(random, place, number) for number, place in enumerate(places)]


def _person(random: Random, place: Place, number: int) -> Person:
    first, last = random.choice(place.first), random.choice(place.last)
    city, state, postal = random.choice(place.cities)
    known = {
        "email": _email(random, first, last, number),
        "phone": _phone(random, place) if random.random() < 0.6 else "",
        "first_name": first,
        "last_name": last,
        "gender": random.choice(_GENDERS) if random.random() < 0.2 else "",
        "birth_date": _birth_date(random) if random.random() < 0.2 else "",
        "city": city if random.random() < 0.8 else "",
        "state": state if random.random() < 0.7 else "",
        "postal_code": _filled(random, postal) if random.random() < 0.7 else "",
        "country": random.choice((place.country, place.country, place.country.lower())),
        "external_id": f"C{10_000 + number}" if random.random() < 0.4 else "",
    }
    customer = {name: value for name, value in known.items() if value}
    return {"place": place, "customer": customer, "ip": _address(random)}


def _email(random: Random, first: str, last: str, number: int) -> str:
    name = ".".join(filter(None, (_plain(first), _plain(last))))
    local = name or f"{random.choice(_WORDS)}.{random.choice(_BEASTS)}"
    local += random.choice(("", "", str(number), "+shop", "_x"))
    return f"{local}@{random.choice(_DOMAINS)}"


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.replace("ø", "o").replace("ß", "ss"))
    plain = "".join(char for char in letters if char.isascii() and char.isalnum())
    return plain.lower()


def respelt(random: Random, email: str) -> str:
    """Return *email* as people type it: the same address to every service."""
    return random.choice((email, email, email.title(), f" {email}", email.upper(), f"{email} "))


def _phone(random: Random, place: Place) -> str:
    home = place.country if place.country in _PHONES else random.choice(sorted(_PHONES))
    text = random.choice(_PHONES[home]).format(n=random.randrange(100), s=random.randrange(5, 100))
    if place.language == "ar" and random.random() < 0.5:
        return text.translate(_ARABIC)
    return text.translate(_WIDE) if place.language == "ja" and random.random() < 0.4 else text


def _birth_date(random: Random) -> str:
    year, month, day = (
        random.randrange(1950, 2005),
        random.randrange(1, 13),
        random.randrange(1, 29),
    )
    return random.choice(
        (
            f"{year}-{month:02}-{day:02}",
            f"{year}{month:02}{day:02}",
            f"{month:02}/{day:02}/{year}",
            f"{day + 12 if day < 16 else day}.{month}.{year}",
        )
    )


def _filled(random: Random, pattern: str) -> str:
    letters = "ABCEGHJKLMNPRSTVXY"
    return "".join(
        str(random.randrange(10))
        if char == "9"
        else random.choice(letters)
        if char == "A"
        else char
        for char in pattern
    )


def _address(random: Random) -> str:
    if random.random() < 0.25:
        return f"2001:db8:{random.randrange(65536):x}::{random.randrange(1, 65536):x}"
    net = random.choice(("192.0.2", "198.51.100", "203.0.113"))
    return f"{net}.{random.randrange(1, 255)}"
