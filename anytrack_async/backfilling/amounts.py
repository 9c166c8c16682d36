"""Amounts in the words of a file.

They are never guessed: ``1,234`` is 1234 to one reader and 1.234 to another, so without a decimal
sign it is refused. A refusal is an `InvalidConversionError` that says which setting decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from anytrack_async.backfilling.advice import IN_PYTHON, Advice
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.identifiers import is_rounded

_GROUP_SIGNS = str.maketrans("", "", " \u00a0\u202f\u2009'\u2019")
_UNCLEAR_DOT = re.compile(r"-?\d{1,3}(?:\.\d{3})+")
_GROUPED: Final = {
    ".": re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d*)?|-?\d+(?:\.\d*)?|-?\.\d+"),
    ",": re.compile(r"-?\d{1,3}(?:\.\d{3})+(?:,\d*)?|-?\d+(?:,\d*)?|-?,\d+"),
}
_INDIAN = re.compile(r"-?\d{1,2}(?:,\d{2})*,\d{3}(?:\.\d*)?")

_DOLLARS: Final = frozenset(
    (
        *("ARS", "AUD", "BBD", "BMD", "BND", "BRL", "BSD", "BZD", "CAD", "CLP", "COP", "CUP"),
        *("CVE", "DOP", "FJD", "GYD", "HKD", "JMD", "KYD", "LRD", "MOP", "MXN", "NAD", "NIO"),
        *("NZD", "SBD", "SGD", "SRD", "TOP", "TTD", "TWD", "USD", "UYU", "WST", "XCD", "ZWL"),
    )
)
_SIGNS: Final[Mapping[str, frozenset[str]]] = {
    "$": _DOLLARS,
    "US$": frozenset(("USD",)),
    "A$": frozenset(("AUD",)),
    "C$": frozenset(("CAD", "NIO")),
    "CA$": frozenset(("CAD",)),
    "NZ$": frozenset(("NZD",)),
    "HK$": frozenset(("HKD",)),
    "S$": frozenset(("SGD",)),
    "NT$": frozenset(("TWD",)),
    "MX$": frozenset(("MXN",)),
    "R$": frozenset(("BRL",)),
    "€": frozenset(("EUR",)),
    "£": frozenset(("EGP", "FKP", "GBP", "GIP", "LBP", "SHP", "SSP", "SYP")),
    "¥": frozenset(("CNY", "JPY")),
    "₹": frozenset(("INR",)),
    "₽": frozenset(("RUB",)),
    "₺": frozenset(("TRY",)),
    "₩": frozenset(("KPW", "KRW")),
    "₪": frozenset(("ILS",)),
    "₴": frozenset(("UAH",)),
    "₫": frozenset(("VND",)),
    "฿": frozenset(("THB",)),
    "₱": frozenset(("CUP", "PHP")),
    "zł": frozenset(("PLN",)),
    "Kč": frozenset(("CZK",)),
    "Ft": frozenset(("HUF",)),
    "lei": frozenset(("MDL", "RON")),
    "kr": frozenset(("DKK", "ISK", "NOK", "SEK")),
    "kr.": frozenset(("DKK", "ISK", "NOK", "SEK")),
}
"""Sign before or behind an amount → the currencies that have it."""

_SIGN = rf"({'|'.join(map(re.escape, sorted(_SIGNS, key=len, reverse=True)))}|[A-Z]{{3}})?"
_AROUND = re.compile(rf"(-?)\s*{_SIGN}\s*(.*?)\s*{_SIGN}", re.DOTALL)

_ROUNDED = (
    "was rounded by a spreadsheet, which leaves 1.23E+05 of 123456: take the file as it was "
    "exported, or format the column as a number with all its digits"
)

_UNCLEAR = (
    "{sign}, which separates thousands to one reader and decimals to another: state the decimal "
    "sign, {advice}"
)


def amount_parser(
    decimal: str | None,
    *,
    advice: Advice = IN_PYTHON,
    signs: list[str] | None = None,
    exact: bool = False,
) -> Callable[[Any], Decimal]:
    """Return a function from the text or number of a cell to the amount, which may be negative.

    Args:
        decimal: the decimal sign; None to refuse amounts that are ambiguous without it. With
            ``"."``, ``"1,234.50"`` is 1234.50; with ``","``, ``"1.234,50"`` is 1234.50.
        advice: names the setting in a refusal.
        signs: list to which the sign or code of a currency beside an amount is added, see
            `currencies_of`.
        exact: whether ``"1.5E+3"`` is 1500, as this library writes it. In other files, a
            spreadsheet has rounded such an amount.

    Returns:
        A function that raises `InvalidConversionError` for the field ``revenue``.
    """
    signs = [] if signs is None else signs

    def parse(value: Any) -> Decimal:
        amount = read(value)
        if not amount.is_finite():  # the text "NaN", and 1e999 of JSON
            raise InvalidConversionError("revenue", "must be a finite number")
        return amount

    def read(value: Any) -> Decimal:
        if type(value) is not str:
            return _from_number(value)
        if "E+" in value and not exact and is_rounded(value):
            raise InvalidConversionError("revenue", _ROUNDED)
        if (plain := _plain_amount(value, decimal)) is not None:
            return plain
        return _from_digits(_without_sign(value, signs), decimal, advice)

    return parse


def currencies_of(sign: str) -> frozenset[str]:
    """Return the currencies that *sign*, which stood beside an amount, may mean."""
    return _SIGNS.get(sign) or frozenset((sign,))


def _plain_amount(text: str, decimal: str | None) -> Decimal | None:
    """Return the amount in *text* if it is a number of Python's with one meaning, else None.

    Without a decimal sign, "1.234" has two meanings; "12.50" and "1234.5678" have one. Python would
    take "49_90" for 4990.
    """
    if "_" in text or decimal == "," or (decimal is None and text[-4:-3] == "."):
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None  # "NaN" and "Infinity" are not


def _from_number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidConversionError("revenue", f"must be a number, got {type(value).__name__}")
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _without_sign(text: str, signs: list[str]) -> str:
    """Return *text* without the currency around the amount, which is added to *signs*."""
    digits = text.strip().replace("\u2212", "-")
    if digits[:1] == "(" and digits[-1:] == ")":  # an accountant's minus
        digits = f"-{digits[1:-1]}"
    if match := _AROUND.fullmatch(digits):  # "-€ 12.50", "12.50 EUR"
        minus, before, digits, behind = match.groups()
        signs += [sign for sign in (before, behind) if sign]
        digits = minus + digits
    digits = digits.translate(_GROUP_SIGNS)
    if digits[-1:] == "-" and digits[:1] != "-":
        digits = f"-{digits[:-1]}"
    return digits.removeprefix("+")


def _from_digits(digits: str, decimal: str | None, advice: Advice) -> Decimal:
    if decimal is None:
        unclear = "has a comma" if "," in digits else ""
        if _UNCLEAR_DOT.fullmatch(digits):
            unclear = "has a dot before three digits"
        if unclear:
            problem = _UNCLEAR.format(sign=unclear, advice=advice.state("decimal"))
            raise InvalidConversionError("revenue", problem)
        decimal = "."
    group = "," if decimal == "." else "."
    if not _GROUPED[decimal].fullmatch(digits) and not (
        decimal == "." and _INDIAN.fullmatch(digits)
    ):
        problem = f"is not an amount with the decimal sign {decimal!r}, such as 1299{decimal}90"
        remedy = "correct it"
        if _GROUPED[group].fullmatch(digits):  # it is one with the other sign
            remedy += f", or state the sign, {advice.state('decimal')}"
        raise InvalidConversionError("revenue", f"{problem}: {remedy}")
    return Decimal(digits.replace(group, "").replace(decimal, "."))
