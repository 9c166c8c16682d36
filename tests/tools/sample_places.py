"""Where the made-up customers live: names, towns and money, in many scripts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A country's share of the sample.

    A digit `9` in `postal` stands for any digit, an `A` for any letter.
    """

    country: str
    currency: str
    language: str
    first: tuple[str, ...]
    last: tuple[str, ...]
    cities: tuple[tuple[str, str, str], ...]
    weight: int = 4


def _place(
    code: str, language: str, first: str, last: str, *cities: tuple[str, str, str], weight: int = 4
) -> Place:
    country, currency = code.split("/")
    return Place(
        country, currency, language, tuple(first.split()), tuple(last.split("|")), cities, weight
    )


PLACES = (
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
