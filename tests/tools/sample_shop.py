"""What is sold in the sample, and how its customers came: goods, campaigns, pages, browsers."""

from __future__ import annotations

import string
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from sample_places import Place

Record = dict[str, Any]

_GOODS = (
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
_RATES = {"JPY": 150, "INR": 83, "SEK": 10, "NOK": 10, "DKK": 7, "PLN": 4, "BRL": 5}
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


def basket(random: Random, place: Place) -> tuple[list[Record], str]:
    """Return the lines of an order and what they cost together."""
    items, total = [], Decimal(0)
    for sku, title, category, brand, price in random.sample(_GOODS, random.choice((1, 1, 1, 2, 3))):
        quantity = random.choice((1, 1, 1, 2, 3))
        each = money(place, Decimal(price))
        total += each * quantity
        item: Record = {"id": sku, "quantity": quantity, "price": str(each)}
        if random.random() < 0.5:
            item |= {"title": title, "category": category}
            item |= {"brand": brand} if brand else {}
        items.append(item)
    return items, str(total)


def money(place: Place, amount: Decimal) -> Decimal:
    """Return *amount* of dollars in the place's currency; the yen has no decimals."""
    local = amount * _RATES.get(place.currency, 1)
    return local.quantize(Decimal(1) if place.currency == "JPY" else Decimal("0.01"))


def visit(random: Random, place: Place, page: str) -> Record:
    """Return how the customer came: source, campaign, click, page and browser."""
    source, medium, _ = random.choices(_CHANNELS, [weight for *_, weight in _CHANNELS])[0]
    campaign = random.choice(_CAMPAIGNS)
    query = {"utm_source": source, "utm_medium": medium, "utm_campaign": campaign}
    found: Record = {"source": source}
    if random.random() < 0.8:
        found["click_id"] = f"at_{token(random, 18)}"
    if random.random() < 0.75:
        found["campaign_id"] = random.choice((campaign, f"12021{random.randrange(10**10):010}"))
    if random.random() < 0.3:
        found["ad_id"] = f"ad-{random.randrange(10**6):06}"
    if random.random() < 0.3:
        found["sub_ids"] = _sub_ids(random)
    if source in ("facebook", "instagram") and random.random() < 0.6:
        query["fbclid"] = f"IwAR{token(random, 22)}"
    if random.random() < 0.7:
        path = f"https://shop.example.com/{place.language}/{page}"
        found["page_url"] = f"{path}?{urlencode(query, quote_via=quote)}"
    if random.random() < 0.6:
        found["user_agent"] = random.choice(_BROWSERS)
    return found


def _sub_ids(random: Random) -> Record:
    every = {"s1": random.choice(("banner", "story", "feed", "検索")), "s2": token(random, 6)}
    if random.random() < 0.4:
        every["s3"] = str(random.randrange(1, 40))
    return every


def cookies(random: Random) -> Record:
    """Return Meta's cookies, one, both or the bare click id."""
    seen = 1_767_225_600_000 + random.randrange(10**9)
    click = f"IwAR{token(random, 22)}"
    browser = f"fb.1.{seen}.{random.randrange(10**9, 10**10)}"
    return random.choice(
        (
            {"fbp": browser},
            {"fbp": browser, "fbc": f"fb.1.{seen}.{click}"},
            {"fbclid": click},
        )
    )
