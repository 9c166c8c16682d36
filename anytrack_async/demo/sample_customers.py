"""The customers of the sample: made-up names, towns and contact data, in many scripts.

Only example domains, example phone numbers and documentation IP addresses, so that no real person
can be among them.
"""

from __future__ import annotations

import unicodedata
from random import Random
from typing import NamedTuple

import attrs


@attrs.frozen
class Place:
    """A country of the sample.

    Attributes:
        country: ISO 3166 code.
        currency: ISO 4217 code.
        language: ISO 639 code.
        first_names: to choose from.
        last_names: to choose from.
        towns: (city, state, postal code pattern): `9` stands for a digit, `A` for a letter.
        weight: how often the country comes up.
    """

    country: str
    currency: str
    language: str
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    towns: tuple[tuple[str, str, str], ...]
    weight: int = 4


class Customer(NamedTuple):
    """A made-up customer: the place, the fields a shop knows, and an IP address."""

    place: Place
    fields: dict[str, str]
    ip_address: str


def _place(
    codes: str,
    language: str,
    first_names: str,
    last_names: str,
    *towns: tuple[str, str, str],
    weight: int = 4,
) -> Place:
    country, currency = codes.split("/")
    names = tuple(first_names.split()), tuple(last_names.split("|"))
    return Place(country, currency, language, *names, towns, weight)


_DOMAINS = ("example.com", "example.org", "example.net")
# For an e-mail address where the name has no ASCII letter.
_COLOURS = ("amber", "birch", "cobalt", "delta", "ember", "fjord", "grove", "harbour", "indigo")
_ANIMALS = ("otter", "lynx", "heron", "badger", "marten", "wren", "ibex", "newt")
# Numbers that each country reserves for films and examples.
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
    "CA": ("+1 514-555-01{n:02}", "(306) 555 01{n:02}", "1.514.555.01{n:02}"),
    "SE": ("+46 70 174 06 {s:02}", "070-17406{s:02}", "0046 70 174 06 {s:02}"),
}
_ARABIC_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_FULL_WIDTH = str.maketrans("0123456789+- ()", "０１２３４５６７８９＋－　（）")
# In postal codes.
_PATTERN = {"9": "0123456789", "A": "ABCEGHJKLMNPRSTVXY"}
_GENDERS = ("f", "m", "F", "male", "Female", "w", "")
# First names are separated by spaces, last names by |, because some contain spaces.
_PLACES = (
    _place(
        "US/USD",
        "en",
        "Ada Grace Maya Owen Theo Ruby Caleb Nora Mary-Ann Jo",
        "Whitlock|Ferris|O'Dell|Van Buren|Castellan|Brightwater|Hale Jr.|McAllen",
        ("Springfield", "IL", "62701"),
        ("Portland", "Oregon", "97999"),
        ("Saint Paul", "MN", "55101-9999"),
        ("New Haven", "CT", "06599"),
        weight=16,
    ),
    _place(
        "GB/GBP",
        "en",
        "Isla Rhys Imogen Alistair Siân Ewan Poppy Niamh",
        "Ashdown|Pemberley|Llewellyn|Mac Giolla|St. Clair|Thistlewood",
        ("Bath", "Somerset", "BA1 9AA"),
        ("Kingston upon Hull", "", "HU9 9AA"),
        ("Llanfair", "Gwynedd", "LL9 9AA"),
        weight=9,
    ),
    _place(
        "DE/EUR",
        "de",
        "Jürgen Käthe Sören Anneliese Björn Grete Lukas Zoë",
        "Großmann|Müllerschön|von der Aue|Weißenfels|Köhlbach|Öttinger-Lang",
        ("Köln", "", "50999"),
        ("Lübeck", "Schleswig-Holstein", "23599"),
        ("Weißwasser", "Sachsen", "02943"),
        weight=9,
    ),
    _place(
        "FR/EUR",
        "fr",
        "Chloé Étienne Maëlys Noël Anaïs François Agnès Jérôme",
        "Lefèvre-Dumont|d'Aubignac|Côté|Le Gall|Bézier|Montreuil",
        ("Orléans", "", "45999"),
        ("Nîmes", "Occitanie", "30999"),
        ("L'Haÿ-les-Roses", "", "94240"),
        weight=7,
    ),
    _place(
        "ES/EUR",
        "es",
        "Íñigo Begoña Ramón Lucía Nuño Estíbaliz",
        "Ibáñez Roca|Núñez del Valle|Peñalver|Güell Sanz",
        ("A Coruña", "Galicia", "15999"),
        ("Cádiz", "", "11999"),
    ),
    _place(
        "BR/BRL",
        "pt",
        "João Conceição Luísa Antônio Inês Caetano",
        "Gonçalves Leão|da Conceição|Araújo Brandão|Sant'Anna",
        ("São Luís", "MA", "65999-999"),
        ("Brasília", "DF", "70999-999"),
        weight=7,
    ),
    _place(
        "SE/SEK",
        "sv",
        "Åsa Örjan Malin Göran Linnéa Håkan",
        "Sjöberg-Lind|Åkerhielm|Östlund|Ljungqvist",
        ("Malmö", "Skåne", "219 99"),
        ("Växjö", "", "352 99"),
        weight=6,
    ),
    _place(
        "NO/NOK",
        "no",
        "Bjørnar Ragnhild Håvard Øystein",
        "Sæther|Bråthen|Øvrelid",
        ("Tromsø", "", "9019"),
        ("Ås", "Akershus", "1430"),
    ),
    _place(
        "DK/DKK",
        "da",
        "Søren Kirstine Asbjørn Freja",
        "Ørsted Holm|Bæk|Skjold",
        ("Ærøskøbing", "", "5970"),
        ("København K", "", "1999"),
    ),
    _place(
        "PL/PLN",
        "pl",
        "Łucja Wojciech Grażyna Żaneta Stanisław",
        "Świętowiak|Źródlak|Gąska|Łąkowy",
        ("Łódź", "łódzkie", "90-999"),
        ("Gdańsk", "", "80-999"),
        weight=5,
    ),
    _place(
        "CH/CHF",
        "de",
        "Urs Seraina Flurin Gian-Andrea",
        "Zgraggenbach|Caduff-Lenz|Rüegsau",
        ("Zürich", "ZH", "8099"),
        ("Genève", "GE", "1299"),
    ),
    _place(
        "CA/CAD",
        "en",
        "Océane Declan Maëlle Tobias",
        "Bélanger-Roy|MacIsaacson|Tremblant",
        ("Montréal", "Québec", "H9A 9A9"),
        ("Moose Jaw", "SK", "S9H 9A9"),
        weight=5,
    ),
    _place(
        "AU/AUD",
        "en",
        "Matilda Banjo Kylie-Rose Angus",
        "Wattlebee|Coolabah|Ironbark",
        ("Wagga Wagga", "NSW", "2650"),
        ("Ballarat", "VIC", "3350"),
        weight=5,
    ),
    _place(
        "IN/INR",
        "hi",
        "आरव प्रिया अनन्या विहान कविता",
        "वर्मापुर|शर्मानी|देशगांवकर",
        ("जयपुर", "राजस्थान", "302099"),
        ("पुणे", "", "411099"),
        weight=6,
    ),
    _place(
        "JP/JPY",
        "ja",
        "さくら 陽翔 美月 蓮 結衣",
        "青葉木|星野谷|東雲崎|渡海",
        ("横浜市", "神奈川県", "220-9999"),
        ("札幌市", "北海道", "060-9999"),
        weight=7,
    ),
    _place(
        "TW/USD",
        "zh",
        "雅婷 志豪 曉明 詩涵",
        "歐陽|司馬林|諸葛江",
        ("臺北市", "", "10999"),
        ("高雄市", "", "80999"),
    ),
    _place(
        "CN/USD",
        "zh",
        "婉清 子轩 浩然 思远",
        "上官|慕容川|东方岭",
        ("苏州市", "江苏省", "215099"),
        ("厦门市", "", "361099"),
    ),
    _place(
        "KR/USD",
        "ko",
        "하늘 지우 서윤 도현",
        "남궁|황보산|제갈솔",
        ("부산광역시", "", "48999"),
        ("전주시", "전라북도", "54999"),
    ),
    _place(
        "BG/EUR",
        "bg",
        "Цветелина Борислав Йоана Любомир",
        "Горскоселски|Бързакова|Юнашки",
        ("Пловдив", "", "4099"),
        ("Велико Търново", "", "5099"),
    ),
    _place(
        "KZ/USD",
        "ru",
        "Алёна Тимофей Зарина Ерлан",
        "Снегирёвский|Подъячева|Жулдызов",
        ("Алматы", "", "050099"),
        ("Өскемен", "", "070099"),
    ),
    _place(
        "GR/EUR",
        "el",
        "Ελευθερία Οδυσσέας Χρύσα Μενέλαος",
        "Γαλανοπέτρου|Ξυλοκόπης|Ωραιάδης",
        ("Θεσσαλονίκη", "", "546 99"),
        ("Ηράκλειο", "Κρήτη", "712 99"),
    ),
    _place(
        "AE/USD",
        "ar",
        "نور يوسف ليلى عمران",
        "النخيلي|بن ساحل|الواحاتي",
        ("الشارقة", "", ""),
        ("العين", "أبو ظبي", ""),
    ),
    _place(
        "IL/USD",
        "he",
        "נועה איתמר שירה אלעד",
        "גל-אורן|בן־שחר|הררי-לב",
        ("חיפה", "", "3199999"),
        ("באר שבע", "", "8499999"),
    ),
    _place(
        "TH/USD",
        "th",
        "สุดารัตน์ ธนกร มะลิ ปกรณ์",
        "ดอกไม้งาม|ทะเลใส|ภูผาเขียว",
        ("เชียงใหม่", "", "50099"),
        ("ภูเก็ต", "", "83099"),
    ),
)


def make_customers(random: Random, count: int) -> list[Customer]:
    """Return *count* customers, at least two from every place, so that no script is missing."""
    weights = [place.weight for place in _PLACES]
    places = [*_PLACES, *_PLACES, *random.choices(_PLACES, weights, k=count - 2 * len(_PLACES))]
    return [_customer(random, place, number) for number, place in enumerate(places)]


def _customer(random: Random, place: Place, number: int) -> Customer:
    first, last = random.choice(place.first_names), random.choice(place.last_names)
    city, state, postal_code = random.choice(place.towns)
    fields = {
        "email": _email(random, first, last, number),
        "phone": _phone(random, place) if random.random() < 0.6 else "",
        "first_name": first,
        "last_name": last,
        "gender": random.choice(_GENDERS) if random.random() < 0.2 else "",
        "birth_date": _birth_date(random) if random.random() < 0.2 else "",
        "city": city if random.random() < 0.8 else "",
        "state": state if random.random() < 0.7 else "",
        "postal_code": _fill_pattern(random, postal_code) if random.random() < 0.7 else "",
        "country": random.choice((place.country, place.country, place.country.lower())),
        "external_id": f"C{10_000 + number}" if random.random() < 0.4 else "",
    }
    filled = {name: value for name, value in fields.items() if value}
    return Customer(place, filled, _ip_address(random))


def _email(random: Random, first: str, last: str, number: int) -> str:
    name = ".".join(filter(None, (_to_ascii(first), _to_ascii(last))))
    # A name in another script leaves no ASCII letter: such a customer gets two English words.
    local = name or f"{random.choice(_COLOURS)}.{random.choice(_ANIMALS)}"
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
    pattern = random.choice(_PHONES[country])
    phone = pattern.format(n=random.randrange(100), s=random.randrange(5, 100))
    if place.language == "ar" and random.random() < 0.5:
        return phone.translate(_ARABIC_DIGITS)
    if place.language == "ja" and random.random() < 0.4:
        return phone.translate(_FULL_WIDTH)
    return phone


def _birth_date(random: Random) -> str:
    year, month = random.randrange(1950, 2005), random.randrange(1, 13)
    day = random.randrange(1, 29)
    return random.choice(
        (
            f"{year}-{month:02}-{day:02}",
            f"{year}{month:02}{day:02}",
            f"{month:02}/{day:02}/{year}",
            # Day first, with a day over 12, which no reader can take for a month.
            f"{day + 12 if day < 16 else day}.{month}.{year}",
        )
    )


def _fill_pattern(random: Random, pattern: str) -> str:
    return "".join(random.choice(_PATTERN[char]) if char in _PATTERN else char for char in pattern)


def _ip_address(random: Random) -> str:
    # The networks that RFC 5737 and RFC 3849 reserve for documentation.
    if random.random() < 0.25:
        return f"2001:db8:{random.randrange(65536):x}::{random.randrange(1, 65536):x}"
    network = random.choice(("192.0.2", "198.51.100", "203.0.113"))
    return f"{network}.{random.randrange(1, 255)}"
