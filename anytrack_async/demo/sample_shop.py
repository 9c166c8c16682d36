"""The made-up shop of the sample: customers in many scripts, orders, and visits to its pages.

Only example domains, example phone numbers and documentation IP addresses, so that no real person
can be among them.
"""

from __future__ import annotations

import string
import unicodedata
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import attrs

Record = dict[str, Any]
"""Part of a line: field names and JSON values."""


# Customers


@attrs.frozen
class Place:
    """A country of the sample.

    Attributes:
        codes: ISO 3166 country, ISO 4217 currency and ISO 639 language.
        first_names: separated by spaces.
        last_names: separated by `|`, because some contain spaces.
        towns: city, state and postal code of each; in a code, `9` stands for any digit.
        weight: how often the country comes up.
    """

    codes: str
    first_names: str
    last_names: str
    towns: tuple[tuple[str, str, str], ...]
    weight: int = 5

    @property
    def country(self) -> str:
        """ISO 3166 code."""
        return self.codes.split("/")[0]

    @property
    def currency(self) -> str:
        """ISO 4217 code."""
        return self.codes.split("/")[1]

    @property
    def language(self) -> str:
        """ISO 639 code."""
        return self.codes.split("/")[2]


class Customer(NamedTuple):
    """A made-up customer: the place, the fields a shop knows, and an IP address."""

    place: Place
    fields: dict[str, str]
    ip_address: str


_PLACES = (
    Place(
        "US/USD/en",
        "Ada Theo Mary-Ann Jo",
        "O'Dell|Van Buren|Hale Jr.|McAllen",
        (("Springfield", "IL", "62701"), ("Saint Paul", "Minnesota", "55101-9999")),
        16,
    ),
    Place(
        "GB/GBP/en",
        "Imogen Rhys Siân",
        "Ashcombe-Harley|Mac Giolla|St. Clair",
        (("Kingston upon Hull", "", "HU9 9AA"), ("Llanfair", "Gwynedd", "LL9 9AA")),
        9,
    ),
    Place(
        "DE/EUR/de",
        "Jürgen Käthe Zoë",
        "Großmann|von der Aue|Öttinger-Lang",
        (("Köln", "", "50999"), ("Weißwasser", "Sachsen", "02943")),
        9,
    ),
    Place(
        "FR/EUR/fr",
        "Chloé Étienne Noël",
        "Lefèvre-Dumont|d'Aubignac|Le Gall",
        (("Nîmes", "Occitanie", "30999"), ("L'Haÿ-les-Roses", "", "94240")),
        7,
    ),
    Place(
        "BR/BRL/pt",
        "João Conceição Inês",
        "Gonçalves Leão|da Conceição|Sant'Anna",
        (("São Luís", "MA", "65999-999"),),
        7,
    ),
    Place(
        "SE/SEK/sv",
        "Åsa Örjan Linnéa",
        "Sjöberg-Lind|Åkerhielm",
        (("Malmö", "Skåne", "219 99"),),
    ),
    Place(
        "DK/DKK/da",
        "Søren Kirstine",
        "Ørsted Holm|Bæk",
        (("Ærøskøbing", "", "5970"),),
    ),
    Place(
        "PL/PLN/pl",
        "Łucja Grażyna",
        "Świętowiak|Źródlak",
        (("Łódź", "łódzkie", "90-999"),),
    ),
    Place(
        "CA/CAD/en",
        "Océane Tobias",
        "Bélanger-Roy|Tremblant",
        (("Montréal", "Québec", "H9A 9A9"),),
    ),
    Place(
        "AU/AUD/en",
        "Banjo Kylie-Rose",
        "Wattlebee|Coolabah",
        (("Wagga Wagga", "NSW", "2650"),),
    ),
    Place(
        "IN/INR/hi",
        "आरव प्रिया",
        "वर्मापुर|शर्मानी",
        (("जयपुर", "राजस्थान", "302099"),),
    ),
    Place(
        "JP/JPY/ja",
        "さくら 陽翔",
        "青葉木|星野谷",
        (("横浜市", "神奈川県", "220-9999"),),
    ),
    Place("CN/USD/zh", "婉清 思远", "上官|慕容川", (("苏州市", "江苏省", "215099"),)),
    Place("KR/USD/ko", "하늘 지우", "남궁|황보산", (("전주시", "전라북도", "54999"),)),
    Place("KZ/USD/ru", "Алёна Ерлан", "Снегирёвский|Жулдызов", (("Өскемен", "", "070099"),)),
    Place("GR/EUR/el", "Ελευθερία Οδυσσέας", "Γαλανοπέτρου", (("Ηράκλειο", "Κρήτη", "712 99"),)),
    Place("AE/USD/ar", "نور يوسف", "النخيلي|بن ساحل", (("العين", "أبو ظبي", ""),)),
    Place("IL/USD/he", "נועה איתמר", "גל-אורן|בן־שחר", (("באר שבע", "", "8499999"),)),
    Place("TH/USD/th", "มะลิ ธนกร", "ดอกไม้งาม|ทะเลใส", (("เชียงใหม่", "", "50099"),)),
)
_DOMAINS = ("example.com", "example.org", "example.net")
# Numbers that each country reserves for films and examples, as people write them.
_PHONES = {
    "US": (
        "+1 212 555 01{:02}",
        "+121255501{:02}",
        "(312) 555-01{:02}",
        "1-415-555-01{:02}",
        "001 206 555 01{:02}",
        "617.555.01{:02}",
        "+1 (512) 555-01{:02} ",
    ),
    "CA": ("+1 514-555-01{:02}", "(306) 555 01{:02}", "1.514.555.01{:02}"),
    "GB": ("+44 20 7946 0{:03}", "020 7946 0{:03}", "+44 (0)7700 900{:03}", "00447700900{:03}"),
    "DE": ("+49 30 23125{:03}", "030/23125-{:03}", "+49 (0)30 23125 {:03}", "0049-3023125{:03}"),
    "FR": ("+33 1 99 00 {:02} 34", "01.99.00.{:02}.56", "06 39 98 {:02} 78", "+33639981{:02}0"),
    "AU": ("+61 491 570 156", "0491 570 157"),
}
_ARABIC_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_FULL_WIDTH = str.maketrans("0123456789+- ()", "０１２３４５６７８９＋－　（）")


def make_customers(random: Random, count: int) -> list[Customer]:
    """Return *count* customers, at least two from every place, so that no script is missing."""
    weights = [place.weight for place in _PLACES]
    places = [*_PLACES, *_PLACES, *random.choices(_PLACES, weights, k=count - 2 * len(_PLACES))]
    return [_customer(random, place, number) for number, place in enumerate(places)]


def _customer(random: Random, place: Place, number: int) -> Customer:
    first = random.choice(place.first_names.split())
    last = random.choice(place.last_names.split("|"))
    city, state, postal_code = random.choice(place.towns)
    fields = {
        "email": _email(random, first, last, number),
        "phone": _phone(random, place) if random.random() < 0.6 else "",
        "first_name": first,
        "last_name": last,
        "gender": random.choice(("f", "M", "male", "w")) if random.random() < 0.2 else "",
        "birth_date": _birth_date(random) if random.random() < 0.2 else "",
        "city": city if random.random() < 0.8 else "",
        "state": state if random.random() < 0.7 else "",
        "postal_code": _fill_digits(random, postal_code) if random.random() < 0.7 else "",
        "country": random.choice((place.country, place.country, place.country.lower())),
        "external_id": f"C{10_000 + number}" if random.random() < 0.4 else "",
    }
    filled = {name: value for name, value in fields.items() if value}
    return Customer(place, filled, _ip_address(random))


def _email(random: Random, first: str, last: str, number: int) -> str:
    # A name in another script leaves no ASCII letter: such a customer gets an invented name.
    local = ".".join(filter(None, (_to_ascii(first), _to_ascii(last)))) or f"otter.{number}"
    local += random.choice(("", "", str(number), "+shop", "_x"))
    return f"{local}@{random.choice(_DOMAINS)}"


def _to_ascii(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.replace("ø", "o").replace("ß", "ss"))
    return "".join(char for char in letters if char.isascii() and char.isalnum()).lower()


def vary_email(random: Random, email: str) -> str:
    """Return *email* as people type it: with spaces or capitals, the same to every service."""
    return random.choice((email, email, email.title(), f" {email}", email.upper(), f"{email} "))


def _phone(random: Random, place: Place) -> str:
    country = place.country if place.country in _PHONES else random.choice(sorted(_PHONES))
    phone = random.choice(_PHONES[country]).format(random.randrange(100))
    if place.language == "ar" and random.random() < 0.5:
        return phone.translate(_ARABIC_DIGITS)
    if place.language == "ja" and random.random() < 0.4:
        return phone.translate(_FULL_WIDTH)
    return phone


def _birth_date(random: Random) -> str:
    # A day over 12, which no reader can take for a month.
    year, month, day = (
        random.randrange(1950, 2005),
        random.randrange(1, 13),
        random.randrange(13, 29),
    )
    forms = ("{0}-{1:02}-{2:02}", "{0}{1:02}{2:02}", "{1:02}/{2:02}/{0}", "{2}.{1}.{0}")
    return random.choice(forms).format(year, month, day)


def _fill_digits(random: Random, pattern: str) -> str:
    return "".join(random.choice(string.digits) if char == "9" else char for char in pattern)


def _ip_address(random: Random) -> str:
    # The networks that RFC 5737 and RFC 3849 reserve for documentation.
    if random.random() < 0.25:
        return f"2001:db8:{random.randrange(65536):x}::{random.randrange(1, 65536):x}"
    network = random.choice(("192.0.2", "198.51.100", "203.0.113"))
    return f"{network}.{random.randrange(1, 255)}"


# Orders

_PRODUCTS = (
    ("SKU-1001", "Trail running shoes", "Shoes", "89.90"),
    ("SKU-1002", "Wanderrucksack 32 l", "Rucksäcke", "119.00"),
    ("SKU-1003", "Crème pour les mains", "Beauté", "12.50"),
    ("SKU-1004", "ほうじ茶 100g", "お茶", "14.80"),
    ("SKU-1005", "Чай из чабреца", "Чай", "7.40"),
    ("SKU-1006", "قهوة عربية", "مشروبات", "18.00"),
    ("SKU-1007", "Espresso machine", "Kitchen", "449.00"),
    ("plan-pro-yearly", "Pro plan, yearly", "Subscriptions", "290.00"),
)
# Local units for a dollar, roughly; other currencies count as dollars.
_RATES = {"JPY": 150, "INR": 83, "SEK": 10, "DKK": 7, "PLN": 4, "BRL": 5}


def make_order(random: Random, place: Place) -> tuple[list[Record], str]:
    """Return the items of an order and its total in the currency of *place*."""
    items, total = [], Decimal(0)
    for sku, title, category, dollars in random.sample(_PRODUCTS, random.choice((1, 1, 1, 2, 3))):
        quantity = random.choice((1, 1, 1, 2, 3))
        price = local_price(place, Decimal(dollars))
        total += price * quantity
        item: Record = {"id": sku, "quantity": quantity, "price": str(price)}
        items.append(item | ({"title": title, "category": category} if quantity == 1 else {}))
    return items, str(total)


def local_price(place: Place, dollars: Decimal) -> Decimal:
    """Return *dollars* in the currency of *place*; the yen has no decimals."""
    amount = dollars * _RATES.get(place.currency, 1)
    return amount.quantize(Decimal(1) if place.currency == "JPY" else Decimal("0.01"))


# Visits

_CHANNELS = (
    ("facebook", "cpc"),
    ("google", "cpc"),
    ("instagram", "paid_social"),
    ("newsletter", "email"),
    ("partner-042", "affiliate"),
)
# With the characters that break a careless URL encoder.
_CAMPAIGNS = ("spring-sale", "Brand | Search", "lookalike 2 %", "夏のセール", "launch/2026")
_BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
)


def token(random: Random, length: int) -> str:
    """Return *length* random letters and digits."""
    return "".join(random.choices(string.ascii_letters + string.digits, k=length))


def make_visit(random: Random, place: Place, page: str) -> Record:
    """Return the fields of a visit to *page*: source, campaign, click, address and browser."""
    source, medium = random.choice(_CHANNELS)
    campaign = random.choice(_CAMPAIGNS)
    query = {"utm_source": source, "utm_medium": medium, "utm_campaign": campaign}
    visit: Record = {"source": source}
    if random.random() < 0.8:
        visit["click_id"] = f"at_{token(random, 18)}"
    if random.random() < 0.75:
        visit["campaign_id"] = random.choice((campaign, f"12021{random.randrange(10**10):010}"))
    if random.random() < 0.3:
        visit["ad_id"] = f"ad-{random.randrange(10**6):06}"
    if random.random() < 0.3:
        visit["sub_ids"] = {"s1": random.choice(("banner", "検索")), "s2": token(random, 6)}
    if source in ("facebook", "instagram") and random.random() < 0.6:
        query["fbclid"] = f"IwAR{token(random, 22)}"
    if random.random() < 0.7:
        path = f"https://shop.example.com/{place.language}/{page}"
        visit["page_url"] = f"{path}?{urlencode(query, quote_via=quote)}"
    if random.random() < 0.6:
        visit["user_agent"] = random.choice(_BROWSERS)
    return visit


def make_meta_cookies(random: Random) -> Record:
    """Return Meta's cookies `fbp` and `fbc`, `fbp` alone, or the bare click id."""
    created = 1_767_225_600_000 + random.randrange(10**9)  # milliseconds since 1970
    click = f"IwAR{token(random, 22)}"
    browser = f"fb.1.{created}.{random.randrange(10**9, 10**10)}"
    return random.choice(
        (
            {"fbp": browser},
            {"fbp": browser, "fbc": f"fb.1.{created}.{click}"},
            {"fbclid": click},
        )
    )
