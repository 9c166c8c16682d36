"""The page that a visitor is on, as far as a request tells, without the secrets in its URL.

Links in e-mails, sign-in pages and forms put tokens and addresses into URLs, and the URL of the
page goes to advertising services. So a parameter with the name of a secret, or with an e-mail
address as its value, is left out: ``https://shop.example/done?order=7&token=s3cret`` becomes
``https://shop.example/done?order=7``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus, urlsplit

from anytrack_async.models.clicks import CLICK_NAMES
from anytrack_async.models.validators import MAX_TEXT
from anytrack_async.models.visitor import visitor_url

SECRET_WORDS: Final = frozenset(
    (
        *("token", "password", "passwd", "passphrase", "pwd", "pass", "pin", "otp", "secret"),
        *("key", "apikey", "auth", "authorization", "authentication", "bearer", "jwt", "oauth"),
        *("credential", "credentials", "signature", "sig", "hmac", "nonce", "csrf", "xsrf"),
        *("session", "sessionid", "sessid", "sess", "sid", "phpsessid", "jsessionid", "cookie"),
        *("saml", "samlresponse", "ticket", "code", "state", "reset", "invite", "verification"),
        *("email", "mail", "phone", "tel", "telephone", "mobile", "msisdn", "username", "login"),
        *("firstname", "lastname", "fname", "lname", "surname", "fullname", "birthday", "dob"),
        *("address", "street", "ssn", "iban", "card", "cardnumber", "cvv", "cvc"),
    )
)
"""Words of a parameter's name that make it a secret, or a person's data."""

_JOINED = ("accesstoken", "refreshtoken", "idtoken", "authtoken", "clientsecret", "emailaddress")
_KEPT = frozenset(CLICK_NAMES) | {"atclid"}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SIGNS = re.compile(r"[\W_]+")
_EMAIL_VALUE = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_MAX_PARAMETERS = 500
_MAX_URL = 16 * MAX_TEXT  # longer ones are not looked at


def is_secret(name: str) -> bool:
    """Return whether a parameter called *name* may have a secret or a person's data.

    ``accessToken``, ``user[email]`` and ``PHPSESSID`` may; ``keyword`` and ``utm_source`` may not.
    """
    if name in _KEPT:
        return False
    lower = name.lower()
    return (
        _SIGNS.sub("", lower) in SECRET_WORDS
        or any(word.lower() in SECRET_WORDS for word in _WORDS.findall(name[:200]))
        or any(word in lower for word in _JOINED)
    )


def without_secrets(query: str) -> str:
    """Return *query*, the part of a URL after its ``?``, without the parameters that are secret."""
    parameters = query.split("&", _MAX_PARAMETERS)[:_MAX_PARAMETERS]
    return "&".join(parameter for parameter in parameters if not _has_secret(parameter))


def _has_secret(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    if is_secret(unquote_plus(name) if "%" in name else name):
        return True
    # Twice: a link within a link is encoded twice.
    return "@" in value or (
        "%" in value and _EMAIL_VALUE.search(unquote_plus(unquote_plus(value))) is not None
    )


def without_clicks(url: str) -> str:
    """Return *url* without the click ids of ads in its query."""
    page, mark, query = url.partition("?")
    if not mark:
        return url
    names = (part.partition("=")[0] for part in query.split("&"))
    parameters = [
        part for name, part in zip(names, query.split("&"), strict=True) if name not in _KEPT
    ]
    return f"{page}?{'&'.join(parameters)}" if parameters else page


def page_url_or_none(url: str | None) -> str | None:
    """Return *url* without secrets, user information and fragment; None if it is no web page's."""
    if not url or len(url) > _MAX_URL:
        return None
    try:
        parts = urlsplit(url.strip())
        host = parts.netloc.rpartition("@")[2]
    except ValueError:  # e.g. half of an IPv6 address
        return None
    if parts.scheme not in ("https", "http") or not host:
        return None
    query = without_secrets(parts.query) if parts.query else ""
    page = f"{parts.scheme}://{host}{parts.path}"
    return visitor_url(f"{page}?{query}" if query else page)


def page_of_request(headers: Mapping[str, str], url: str | None) -> str | None:
    """Return the URL of the page that a request was made on.

    A browser that opens a page (``Sec-Fetch-Dest: document``) is on the page itself: *url*. A
    script or a form sends its request from a page, which is the ``Referer``, or, if a policy hides
    the page, its ``Origin``. The ``Referer`` of a browser that does not tell is the page only if it
    is of the same site; that of a click on an ad is the ad's.

    Args:
        headers: lower-case names and values.
        url: the URL of the request, if known.
    """
    own, origin = page_url_or_none(url), page_url_or_none(headers.get("origin"))
    referrer = page_url_or_none(headers.get("referer"))
    destination = headers.get("sec-fetch-dest")
    if own and destination == "document":
        return own
    sites = (_host(own), _host(origin))
    if referrer and (destination or own is None or _host(referrer) in sites):
        return referrer
    return origin or own


def _host(url: str | None) -> str | None:
    return url.partition("?")[0].split("/", 3)[2].lower() if url else None
