"""The shop of the sample: its products, and the campaigns, pages and browsers of its visitors."""

from __future__ import annotations

import string
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from anytrack_async.demo.sample_customers import Place

Record = dict[str, Any]
"""Part of a line: field names and JSON values."""

_PRODUCTS = (
    ("SKU-1001", "Trail running shoes", "Shoes", "Northpine", "89.90"),
    ("SKU-1002", "Wanderrucksack 32 l", "Rucksäcke", "Fernweh", "119.00"),
    ("SKU-1003", "Crème pour les mains", "Beauté", "Rivage", "12.50"),
    ("SKU-1004", "ほうじ茶 100g", "お茶", "青葉堂", "14.80"),
    ("SKU-1005", "Чай из чабреца", "Чай", "Степь", "7.40"),
    ("SKU-1006", "Ελαιόλαδο 1 l", "Τρόφιμα", "Ελιά", "15.90"),
    ("SKU-1007", "قهوة عربية", "مشروبات", "الواحة", "18.00"),
    ("SKU-1008", "Yoga mat, 6 mm", "Sport", "Stillwater", "39.00"),
    ("SKU-1009", "Espresso machine", "Kitchen", "Caldera", "449.00"),
    ("SKU-1010", "Linen shirt", "Clothing", "Fjordline", "59.95"),
    ("SKU-1011", "Kryddor, 6-pack", "Kök", "Fjordline", "21.90"),
    ("SKU-1012", "Gift card", "Gift cards", "", "50.00"),
    ("plan-pro-monthly", "Pro plan, monthly", "Subscriptions", "", "29.00"),
    ("plan-pro-yearly", "Pro plan, yearly", "Subscriptions", "", "290.00"),
    ("course-042", "Kurs: Brot backen", "Kurse", "Ofenwerk", "75.00"),
    ("SKU-1013", "ลิ้นชักไม้สัก", "เฟอร์นิเจอร์", "ภูผา", "210.00"),
)
# Local units for a dollar, roughly; other currencies count as dollars.
_RATES = {"JPY": 150, "INR": 83, "SEK": 10, "NOK": 10, "DKK": 7, "PLN": 4, "BRL": 5}
# Source, medium and how often they come up.
_CHANNELS = (
    ("facebook", "cpc", 10),
    ("google", "cpc", 8),
    ("instagram", "paid_social", 5),
    ("tiktok", "paid_social", 4),
    ("newsletter", "email", 4),
    ("taboola", "native", 3),
    ("partner-042", "affiliate", 3),
    ("bing", "cpc", 2),
    ("youtube", "video", 2),
)
# With the characters that break a careless URL encoder.
_CAMPAIGNS = (
    "spring-sale",
    "retargeting_30d",
    "Brand | Search | EU",
    "lookalike 2 %",
    "夏のセール",
    "Black Friday – Frühbucher",
    "launch/2026",
)
_BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.5 Safari/605",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0.0.0 Mobile Safari",
)
_LETTERS = string.ascii_letters + string.digits


def token(random: Random, length: int) -> str:
    """Return *length* random letters and digits."""
    return "".join(random.choices(_LETTERS, k=length))


def make_order(random: Random, place: Place) -> tuple[list[Record], str]:
    """Return the items of an order and its total in the currency of *place*."""
    items, total = [], Decimal(0)
    count = random.choice((1, 1, 1, 2, 3))
    for sku, title, category, brand, dollars in random.sample(_PRODUCTS, count):
        quantity = random.choice((1, 1, 1, 2, 3))
        price = local_price(place, Decimal(dollars))
        total += price * quantity
        item: Record = {"id": sku, "quantity": quantity, "price": str(price)}
        if random.random() < 0.5:
            item |= {"title": title, "category": category}
            item |= {"brand": brand} if brand else {}
        items.append(item)
    return items, str(total)


def local_price(place: Place, dollars: Decimal) -> Decimal:
    """Return *dollars* in the currency of *place*; the yen has no decimals."""
    amount = dollars * _RATES.get(place.currency, 1)
    return amount.quantize(Decimal(1) if place.currency == "JPY" else Decimal("0.01"))


def make_visit(random: Random, place: Place, page: str) -> Record:
    """Return the fields of a visit to *page*: source, campaign, click, address and browser."""
    source, medium, _ = random.choices(_CHANNELS, [weight for *_, weight in _CHANNELS])[0]
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
        visit["sub_ids"] = _sub_ids(random)
    if source in ("facebook", "instagram") and random.random() < 0.6:
        query["fbclid"] = f"IwAR{token(random, 22)}"
    if random.random() < 0.7:
        path = f"https://shop.example.com/{place.language}/{page}"
        visit["page_url"] = f"{path}?{urlencode(query, quote_via=quote)}"
    if random.random() < 0.6:
        visit["user_agent"] = random.choice(_BROWSERS)
    return visit


def _sub_ids(random: Random) -> Record:
    sub_ids = {"s1": random.choice(("banner", "story", "feed", "検索")), "s2": token(random, 6)}
    if random.random() < 0.4:
        sub_ids["s3"] = str(random.randrange(1, 40))
    return sub_ids


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
