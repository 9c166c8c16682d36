"""`visitor`: reads the click ids, address and browser of a visitor from a web request.

The function is pure and takes plain values, so that it fits every framework; `request_objects` has
the readers of ASGI scopes, WSGI environments and the request objects of frameworks.

A visitor controls the whole content of a request. So no content makes this module raise: unusable
values are left out, and `Visitor.weakened` names their kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote_plus

import attrs

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.clicks import CLICK_COOKIES, CLICK_NAMES, clicks_of
from anytrack_async.models.customer import Customer
from anytrack_async.models.forwarding import TrustedProxies, client_address, to_trust
from anytrack_async.models.missing import is_missing
from anytrack_async.models.notes import Weakenable, forget_notes, note_weakness, with_weaknesses
from anytrack_async.models.page_url import page_of_request
from anytrack_async.models.visitor import to_click_id, to_ip_address, visitor_id, visitor_text

if TYPE_CHECKING:
    from anytrack_async.models.conversion import Conversion

Pairs: TypeAlias = Mapping[Any, Any] | Iterable[tuple[Any, Any]]
"""Names and values, as text or bytes; a name may come more than once."""

_MAX_PARAMETERS: Final = 2_000
_MAX_VALUE: Final = 65_536  # characters of a header, cookie or query that are looked at

_HEADERS = frozenset(
    (
        *("accept-language", "cf-connecting-ip", "cookie", "forwarded", "host", "origin"),
        *("referer", "sec-fetch-dest", "user-agent", "x-forwarded-for", "x-forwarded-host"),
        "x-forwarded-proto",
    )
)
_LISTS = {"forwarded": ", ", "x-forwarded-for": ", ", "accept-language": ", ", "cookie": "; "}
"""Headers that may come several times, and the separator that joins them."""

_ATCLID, _ATCID = "atclid", "_atcid"
_PARAMETERS = frozenset((*CLICK_NAMES, _ATCLID))
_COOKIES = frozenset((*CLICK_COOKIES, _ATCID, "_fbc", "_fbp"))
_CLIENT_ID = re.compile(r"[A-Za-z0-9]{14}")
_CLIENT_ID_LENGTH = 14
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,4}")
_MAX_LANGUAGES = 50


@attrs.frozen(kw_only=True, repr=False)
class Visitor(Weakenable):
    """The visitor of a web request as far as the request shows, for a conversion's ``context``.

    The `repr` shows which fields are set, never their values.

    Attributes:
        click_id: AnyTrack's click id.
        client_id: AnyTrack's id of the browser, from its cookie ``_atcid``.
        clicks: click ids of advertising services, see `Conversion.clicks`.
        fbc: Meta's click cookie; None if the request has a newer ``fbclid``.
        fbp: Meta's browser cookie.
        ip_address: the visitor's public address.
        user_agent: the visitor's browser.
        page_url: the page that the request was made on, without secrets.
        language: the language that the visitor likes best, e.g. ``"de-DE"``.
    """

    click_id: str | None = attrs.field(default=None, converter=to_click_id)
    client_id: str | None = None
    clicks: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    fbc: str | None = attrs.field(default=None, converter=visitor_id)
    fbp: str | None = attrs.field(default=None, converter=visitor_id)
    ip_address: str | None = attrs.field(default=None, converter=to_ip_address)
    user_agent: str | None = attrs.field(default=None, converter=visitor_text)
    page_url: str | None = None
    language: str | None = None

    def __repr__(self) -> str:
        names = (field.name for field in attrs.fields(Visitor) if getattr(self, field.name))
        return f"Visitor({', '.join(f'{name}=…' for name in names)})"


def visitor(
    headers: Pairs = (),
    query: str | bytes | Pairs = "",
    cookies: Pairs | None = None,
    peer: str | tuple[Any, ...] | None = None,
    trusted_proxies: TrustedProxies = (),
    *,
    url: str | None = None,
    property_id: str | None = None,
) -> Visitor:
    """Return the visitor of a web request: click ids, cookies, address and browser.

    AnyTrack's click id is the parameter ``atclid``. Without that parameter, the cookie ``_atcid``
    has the client id, and AnyTrack's click id is the property id followed by the client id; without
    *property_id* there is no click id then, because AnyTrack would not find a client id alone.

    Args:
        headers: names and values of the request's headers.
        query: the query string of its URL, or its parameters.
        cookies: its cookies; read from the header ``Cookie`` if not given.
        peer: the address that the connection comes from, or a tuple of address and port; None for a
            Unix socket.
        trusted_proxies: how many proxies are in front of the application, or their networks, e.g.
            ``["10.0.0.0/8", "unix"]``. Without them, no header about proxies counts, and the peer
            is the visitor.
        url: the whole URL of the request, if known.
        property_id: the id of your property in AnyTrack.

    Raises:
        InvalidArgumentError: *trusted_proxies* is wrong. Nothing that a visitor sends raises.

    Source: AnyTrack, glossary, "Client ID" and "Click ID"; RFC 7239; RFC 9110, section 12.5.4.
    """
    trust = to_trust(trusted_proxies)
    forget_notes()
    fields = _known(headers, _HEADERS, _LISTS)
    jar = _cookies_of(fields.get("cookie", "")) if cookies is None else _known(cookies, _COOKIES)
    page = page_of_request(fields, url)
    # The request of a script has no click ids in its URL; the page that it was sent from has.
    parameters = _parameters(page and page.partition("?")[2]) | _parameters(query)
    clicks = clicks_of(parameters, jar)
    return Visitor(
        click_id=_click_id(parameters, jar, property_id),
        client_id=_client_id(jar),
        clicks=clicks,
        fbc=_fbc(jar.get("_fbc"), clicks.get("fbclid")),
        fbp=jar.get("_fbp"),
        ip_address=client_address(
            _peer(peer),
            trust,
            forwarded=fields.get("forwarded"),
            forwarded_for=fields.get("x-forwarded-for"),
            cloudflare=fields.get("cf-connecting-ip"),
        ),
        user_agent=fields.get("user-agent"),
        page_url=page,
        language=best_language(fields.get("accept-language", "")),
    )


def request_url(
    headers: Pairs,
    scheme: str,
    path: str,
    query: str,
    peer: str | tuple[Any, ...] | None,
    trusted_proxies: TrustedProxies,
) -> str | None:
    """Return the URL that a visitor sees; None without a host.

    A trusted proxy may replace scheme and host (``X-Forwarded-Proto``, ``X-Forwarded-Host``).
    """
    fields = _known(headers, _HEADERS, _LISTS)
    host = fields.get("host", "")
    if to_trust(trusted_proxies).covers(_peer(peer)):
        host = _last(fields.get("x-forwarded-host", "")) or host
        scheme = _last(fields.get("x-forwarded-proto", "")) or scheme
    if not host:
        return None
    return f"{scheme}://{host}{path}{f'?{query}' if query else ''}"


def _last(header: str) -> str:
    return header.rpartition(",")[2].strip()


def _fbc(cookie: str | None, clicked: str | None) -> str | None:
    """Return the cookie ``_fbc``; None if it is of an older click than the fbclid *clicked*.

    The browser keeps it until a script replaces it: ``fb.1.1700000000123.OLD``.
    """
    if not cookie or clicked is None:
        return cookie
    same = cookie.split(".")[3:4] == clicked.split(".")[:1]  # both may have a marker at the end
    return cookie if same else None


def _click_id(
    parameters: Mapping[str, str], cookies: Mapping[str, str], property_id: str | None
) -> str | None:
    if click_id := to_click_id(parameters.get(_ATCLID)):
        return click_id
    cookie = cookies.get(_ATCID, "").strip()
    if len(cookie) > _CLIENT_ID_LENGTH:  # a click id already: property id and client id
        return cookie
    client_id = _client_id(cookies)
    return f"{property_id}{client_id}" if property_id and client_id else None


def _client_id(cookies: Mapping[str, str]) -> str | None:
    if (cookie := cookies.get(_ATCID)) is None:
        return None
    # The last 14 characters: the cookie may have the property id before them.
    client_id = cookie.strip()[-_CLIENT_ID_LENGTH:]
    if _CLIENT_ID.fullmatch(client_id):
        return client_id
    note_weakness("unusable client ids")
    return None


def _peer(peer: str | tuple[Any, ...] | None) -> str | None:
    """Return the address in *peer*: ASGI has a list of host and port, sockets a tuple."""
    address: Any = peer
    if isinstance(address, tuple | list):
        address = address[0] if address else None
    return address if isinstance(address, str) and address else None


# Visitors of conversions

_VISIT_FIELDS = ("click_id", "ip_address", "user_agent", "page_url")


def arguments_with(context: Visitor, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return *fields*, arguments of a `Conversion`, with missing ones filled from *context*.

    A field that is given stays, and so do the customer's own ``fbc`` and ``fbp``.

    Raises:
        InvalidConversionError: *context* is not a `Visitor`.
    """
    argument: Any = context
    if not isinstance(argument, Visitor):
        problem = f"must be a Visitor, got {type(argument).__name__}: use visitor_from_request(…)"
        raise InvalidConversionError("context", problem)
    arguments = dict(fields)
    for name in _VISIT_FIELDS:
        if is_missing(arguments.get(name)):
            arguments[name] = getattr(context, name)
    clicks = fields.get("clicks")
    if is_missing(clicks):
        arguments["clicks"] = context.clicks
    elif isinstance(clicks, Mapping):  # else: for the conversion to refuse
        arguments["clicks"] = {**context.clicks, **clicks}
    customer = fields.get("customer")  # of a wrong type: for the conversion to refuse
    if (context.fbc or context.fbp) and (customer is None or isinstance(customer, Customer)):
        arguments["customer"] = customer_with(context, customer)
    return arguments


def customer_with(context: Visitor, customer: Customer | None) -> Customer:
    """Return *customer* with the cookies of Meta that *context* has, unless it has its own."""
    if customer is None:
        return Customer(fbc=context.fbc, fbp=context.fbp)
    cookies = {"fbc": customer.fbc or context.fbc, "fbp": customer.fbp or context.fbp}
    return with_weaknesses(attrs.evolve(customer, **cookies), customer.weakened)


def note_weaknesses(conversion: Conversion, context: Visitor) -> None:
    """Add to a new *conversion* the kinds of values that were left out of its *context*."""
    with_weaknesses(conversion, context.weakened)


# Names and values of a request


def _known(
    pairs: Pairs, names: frozenset[str], lists: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return those of *pairs* with one of *names*: the first of each, or all if it is a list.

    The names of headers are in lower case; parameters and cookies have a letter case.
    """
    # All pairs are looked at, because the nearest proxy wrote the last value of a list.
    values_by_name: dict[str, list[str]] = {}
    items: Iterable[Any] = pairs.items() if isinstance(pairs, Mapping) else pairs
    for name, value in filter(_is_pair, items):
        text = name.decode("latin-1") if isinstance(name, bytes) else name
        if not isinstance(text, str):
            continue
        if lists is not None:
            text = text.lower()
        if text in names and (content := _value(value)):
            values_by_name.setdefault(text, []).append(content)
    return _joined(values_by_name, lists or {})


def _joined(
    values_by_name: Mapping[str, Sequence[str]], lists: Mapping[str, str]
) -> dict[str, str]:
    return {
        name: lists[name].join(values) if name in lists else values[0]
        for name, values in values_by_name.items()
    }


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple | list) and len(item) == 2


def _value(value: object) -> str:
    if isinstance(value, list | tuple):  # the values of a parameter, as some frameworks have them
        value = next(iter(value), "")
    if isinstance(value, bytes | bytearray | memoryview):
        value = bytes(value).decode(errors="ignore")
    return value if isinstance(value, str) else ""


def _cookies_of(header: str) -> dict[str, str]:
    """Return the known cookies of a header ``Cookie``: ``_fbp=fb.1.2.3; _atcid="abc"``.

    A browser sends several of one name if two domains or paths of the shop have set it. The first
    counts that is not blank; of Meta's, the one with the latest time.
    """
    pairs = (part.partition("=") for part in header[:_MAX_VALUE].split(";"))
    cookies: dict[str, str] = {}
    for name, _, quoted in pairs:
        if (name := name.strip()) in _COOKIES:
            value = unquote_plus(quoted.strip().strip('"').replace("+", "%2B"))
            if value.strip() and (name not in cookies or _is_newer(name, value, cookies[name])):
                cookies[name] = value
    return cookies


_META_COOKIE = re.compile(r"fb\.[0-9]{1,2}\.([0-9]{1,16})\..", re.ASCII)
"""The beginning of ``fb.1.1700000000000.AbC``, with its milliseconds."""


def _is_newer(name: str, value: str, other: str) -> bool:
    """Return whether *value* is Meta's cookie of a later click than *other*, which may be none."""
    if name not in ("_fbc", "_fbp") or (match := _META_COOKIE.match(value)) is None:
        return False
    other_match = _META_COOKIE.match(other)
    return other_match is None or int(match[1]) > int(other_match[1])


def _parameters(query: str | bytes | Pairs | None) -> dict[str, str]:
    """Return the known parameters of a query; the first of each that is not empty."""
    if isinstance(query, bytes | bytearray):
        query = bytes(query[:_MAX_VALUE]).decode(errors="ignore")
    if not query:
        return {}
    if not isinstance(query, str):
        return _known(query, _PARAMETERS)
    parameters: dict[str, str] = {}
    for part in query[:_MAX_VALUE].removeprefix("?").split("&", _MAX_PARAMETERS)[:_MAX_PARAMETERS]:
        name, _, value = part.partition("=")
        if "%" in name:
            name = unquote_plus(name)
        if name in _PARAMETERS and value:
            parameters.setdefault(name, unquote_plus(value))
    return parameters


def best_language(header: str) -> str | None:
    """Return the language that ``Accept-Language`` weighs highest; the first of equal ones.

    ``fr;q=0.5, de-DE, en;q=0.9`` gives ``de-DE``.
    """
    best, highest = None, 0.0
    for entry in header[:_MAX_VALUE].split(",", _MAX_LANGUAGES)[:_MAX_LANGUAGES]:
        language, _, parameter = entry.partition(";")
        weight = _weight(parameter)
        if weight > highest and _LANGUAGE.fullmatch(language := language.strip()):
            best, highest = language, weight
    return best


_WEIGHT = re.compile(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*", re.ASCII | re.IGNORECASE)


def _weight(parameter: str) -> float:
    if not parameter.strip():
        return 1.0
    match = _WEIGHT.fullmatch(parameter)
    return float(match[1]) if match else 0.0
