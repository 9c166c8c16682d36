"""The page of a request, without the secrets in its URL."""

from __future__ import annotations

import pytest

from anytrack_async.models.page_url import is_secret, page_of_request, page_url_or_none

SHOP = "https://shop.example"


@pytest.mark.parametrize(
    "name",
    [
        *("token", "access_token", "accessToken", "ACCESS_TOKEN", "x-csrf-token", "password"),
        *("user[password]", "pwd", "apikey", "APIkey", "api_key", "key", "session", "sessionid"),
        *("PHPSESSID", "JSESSIONID", "sid", "email", "e_mail", "userEmail", "customer.email"),
        *("phone", "code", "state", "signature", "sig", "jwt", "idToken", "otp", "resetKey"),
        *("secret", "first_name", "last-name", "e-mail"),
    ],
)
def test_a_secret_is_known_by_its_name(name: str):
    assert is_secret(name)
    assert page_url_or_none(f"{SHOP}/?a=1&{name}=x&b=2") == f"{SHOP}/?a=1&b=2"


@pytest.mark.parametrize(
    "name",
    [
        *("keyword", "utm_source", "utm_campaign", "fbclid", "gclid", "atclid", "order", "page"),
        *("monkey", "passage", "tokenless", "compass", "sku", "ScCid", "epik", "hotel", "q"),
    ],
)
def test_other_parameters_stay(name: str):
    assert page_url_or_none(f"{SHOP}/?{name}=x") == f"{SHOP}/?{name}=x"


@pytest.mark.parametrize(
    "parameter",
    [
        *("u=jane@x.example", "u=jane%40x.example", "next=%2F%3Fto%3Djane%2540x.example"),
        "pass%77ord=x",
    ],
)
def test_addresses_and_encoded_names_are_left_out(parameter: str):
    assert page_url_or_none(f"{SHOP}/?{parameter}&a=1") == f"{SHOP}/?a=1"
    assert page_url_or_none(f"{SHOP}/?{parameter}") == f"{SHOP}/"


def test_user_information_and_fragment_are_left_out():
    page = page_url_or_none("https://jane:pw@shop.example/a?b=1#access_token=x")

    assert page == f"{SHOP}/a?b=1"


@pytest.mark.parametrize("url", [None, "", "about:blank", "javascript:x", "http://[", "/a", "null"])
def test_what_is_no_page_is_left_out(url: str | None):
    assert page_url_or_none(url) is None


@pytest.mark.parametrize(
    ("headers", "url", "page"),
    [
        # A browser opens the page itself, from an ad.
        ({"sec-fetch-dest": "document", "referer": "https://ad.example/"}, f"{SHOP}/a", "/a"),
        ({"referer": "https://ad.example/"}, f"{SHOP}/a", "/a"),
        # A script or a form on a page.
        ({"sec-fetch-dest": "empty", "referer": f"{SHOP}/p"}, "https://api.example/x", "/p"),
        ({"referer": f"{SHOP}/p"}, f"{SHOP}/api", "/p"),
        ({"referer": f"{SHOP}/p", "origin": SHOP}, "https://api.example/x", "/p"),
        ({"origin": SHOP}, "https://api.example/x", ""),
        ({"referer": f"{SHOP}/p"}, None, "/p"),
        ({"origin": "null"}, f"{SHOP}/a", "/a"),
    ],
)
def test_the_page_is_where_the_visitor_is(headers: dict[str, str], url: str | None, page: str):
    assert page_of_request(headers, url) == f"{SHOP}{page}"


def test_a_request_without_headers_and_url_has_no_page():
    assert page_of_request({}, None) is None
