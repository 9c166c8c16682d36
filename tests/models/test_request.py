"""What a web request tells about its visitor."""

from __future__ import annotations

from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.models.request import Visitor, best_language, visitor

AD = "https://shop.example/shoes?fbclid=FB1&gclid=G1&utm_source=fb"
COOKIES = {
    "_atcid": "abcDEF12345678",
    "_fbc": "fb.1.1700000000000.OLD",
    "_fbp": "fb.1.1700000000000.42",
    "_gcl_aw": "GCL.1700000000.Cj0_Kq-w",
    "_gcl_ag": "2.1.kGBR_1-x$i1700000000",
    "_gcl_gb": "GCL.1700000000.WBR",
    "ttclid": "E.C.P.tt",
    "_ttp": "2Nq9",
    "_uetmsclkid": "_uetabc123",
    "li_fat_id": "11111111-2222-3333-4444-555555555555",
    "_rdt_cid": "5001",
    "_epik": "dj0yJnU9",
    "_scclid": "snap-1",
}
FROM_COOKIES = {
    "gclid": "Cj0_Kq-w",
    "gbraid": "GBR_1-x",
    "wbraid": "WBR",
    "ttclid": "E.C.P.tt",
    "ttp": "2Nq9",
    "msclkid": "abc123",
    "li_fat_id": "11111111-2222-3333-4444-555555555555",
    "rdt_cid": "5001",
    "epik": "dj0yJnU9",
    "ScCid": "snap-1",
}


def test_click_ids_are_lifted_from_cookies():
    header = "; ".join(f"{name}={value}" for name, value in COOKIES.items())

    for seen in (visitor(cookies=COOKIES), visitor({"Cookie": f"a=b; {header}; c"})):
        assert seen.clicks == FROM_COOKIES
        assert (seen.fbc, seen.fbp) == (COOKIES["_fbc"], COOKIES["_fbp"])
        assert not seen.weakened


def test_the_parameters_of_a_link_beat_the_cookies_of_older_clicks():
    names = ["fbclid", *FROM_COOKIES]
    query = "&".join(f"{name}=new-{name}" for name in names)

    for form in (query, f"?{query}", query.encode(), dict.fromkeys(names, "x") | parsed(query)):
        seen = visitor(query=form, cookies=COOKIES)
        assert seen.clicks == {name: f"new-{name}" for name in names}
        assert seen.fbc is None  # it is of an older click
    for same in ("OLD", "OLD.AQICAQMC", "undefined", "%E2%80%8B", ""):
        assert visitor(query=f"fbclid={same}", cookies=COOKIES).fbc == COOKIES["_fbc"]
    assert visitor(query="fbclid=OL", cookies=COOKIES).fbc is None
    no_id = visitor(query="atclid=undefined", cookies=COOKIES, property_id="P1")
    assert no_id.click_id == visitor(cookies=COOKIES, property_id="P1").click_id is not None


def test_an_unusable_address_of_a_proxy_is_noted():
    seen = visitor({"x-forwarded-for": "0x8.8.8.8"}, peer="10.0.0.1", trusted_proxies=1)

    assert (seen.ip_address, seen.weakened) == (None, ("unusable IP addresses",))


def parsed(query: str) -> dict[str, list[str]]:
    return {name: [value] for name, _, value in (part.partition("=") for part in query.split("&"))}


def test_click_ids_are_read_from_the_page_that_a_script_sent_the_request_from():
    headers = {"Referer": AD, "Sec-Fetch-Dest": "empty"}

    seen = visitor(headers, "order=7&gclid=G2", url="https://shop.example/api/orders?gclid=G2")

    assert seen.clicks == {"fbclid": "FB1", "gclid": "G2"}
    assert seen.page_url == AD


def test_the_click_id_of_anytrack_is_the_property_id_and_the_client_id():
    cookies = {"_atcid": "abcDEF12345678"}

    assert visitor(query="atclid=P1abcDEF12345678", cookies=cookies).click_id == "P1abcDEF12345678"
    assert visitor(cookies=cookies, property_id="P1").click_id == "P1abcDEF12345678"
    assert visitor(cookies={"_atcid": "P1abcDEF12345678"}).click_id == "P1abcDEF12345678"
    # AnyTrack would not find a client id that is sent as a click id.
    alone = visitor(cookies=cookies)
    assert (alone.click_id, alone.client_id) == (None, "abcDEF12345678")


@pytest.mark.parametrize("cookie", ["", "abc", "abcDEF1234567!", "\x00" * 14])
def test_a_cookie_that_is_no_client_id_gives_no_click_id(cookie: str):
    seen = visitor(cookies={"_atcid": cookie}, property_id="P1")

    assert (seen.click_id, seen.client_id) == (None, None)


def test_address_user_agent_and_language_come_from_the_headers():
    headers = [
        (b"user-agent", b"Mozilla/5.0\x00"),
        (b"X-Forwarded-For", b"6.6.6.6"),
        (b"X-Forwarded-For", b"203.0.113.5"),
        (b"Accept-Language", b"en;q=0.5, de-DE, fr"),
    ]

    seen = visitor(headers, peer=("10.0.0.2", 4711), trusted_proxies=["10.0.0.0/8"])

    assert (seen.ip_address, seen.user_agent) == ("203.0.113.5", "Mozilla/5.0")
    assert seen.language == "de-DE"


def test_a_private_address_is_left_out_and_named():
    assert visitor(peer="192.168.1.7").weakened == ("private IP addresses",)
    headers = {"X-Forwarded-For": "203.0.113.5", "Forwarded": "for=6.6.6.6"}
    assert visitor(headers, peer="10.0.0.1", trusted_proxies=1).weakened == (
        "contradictory proxy headers",
    )


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de", "de"),
        ("fr;q=0.5, de-DE, en;q=0.9", "de-DE"),
        ("*, en;q=0.3", "en"),
        ("en;q=0", None),
        ("en;q=nan, de;q=1e9, fr;q=0.1", "fr"),
        ("<script>, zh-Hant-TW;q=0.2", "zh-Hant-TW"),
        ("", None),
    ],
)
def test_the_best_language_has_the_highest_weight(header: str, language: str | None):
    assert best_language(header) == language


def test_the_repr_has_no_values():
    text = repr(visitor({"User-Agent": "Mozilla"}, "gclid=G1", peer="203.0.113.5"))

    assert text == "Visitor(clicks=…, ip_address=…, user_agent=…)"
    assert repr(Visitor()) == "Visitor()"


# Hostile requests

hostile = (
    st.text()
    | st.binary()
    | st.text(alphabet="\ud800\udfff\x00%&=;,\"'@:/?#[]\u202e")
    | st.none()
    | st.integers()
    | st.lists(st.text(), max_size=3)
)
names = st.sampled_from(
    [
        *("cookie", "forwarded", "x-forwarded-for", "cf-connecting-ip", "referer", "origin"),
        *("user-agent", "accept-language", "host", "sec-fetch-dest", "fbclid", "atclid", "gclid"),
        *(*COOKIES, b"cookie", b"referer", b"\xff", 7, None),
    ]
)
pairs = st.lists(st.tuples(names, hostile) | st.tuples(hostile, hostile) | hostile, max_size=8)
urls = st.text() | st.sampled_from(
    ["http://[", "https://a@b@c/?a=b@c", "https://\ud800/?\ud800=1", "//x", "http://[::1]:x/?"]
)


UNKNOWN = ("Cn", "Co")  # categories of characters


@given(pairs, st.text() | st.binary() | pairs, st.none() | pairs, hostile, urls)
def test_no_request_raises(headers: Any, query: Any, cookies: Any, peer: Any, url: str):
    for trusted in ((), 2, ["10.0.0.0/8", "unix"]):
        seen = visitor(headers, query, cookies, peer, trusted, url=url, property_id="P1")
        for text in (seen.click_id, seen.fbc, seen.page_url, seen.user_agent, seen.ip_address):
            assert text is None or text.encode()
        for name, click in seen.clicks.items():
            assert name.encode()
            assert click.encode()
            # Newer versions of Unicode, and fonts, have characters that Python does not know.
            assert all(char.isprintable() or category(char) in UNKNOWN for char in click)


@given(st.text(), st.text())
def test_no_referrer_and_no_query_raises(referrer: str, query: str):
    headers = {"Referer": f"https://shop.example/{referrer}", "Cookie": query}

    seen = visitor(headers, query, url=f"https://shop.example/?{query}")

    assert seen.page_url is None or seen.page_url.startswith("https://")


def test_megabytes_and_thousands_of_cookies_do_not_matter():
    megabyte = "x" * 2**20
    cookies = "; ".join(f"c{number}=1" for number in range(20_000))
    headers = [
        *(("X-Other", megabyte) for _ in range(20)),
        *((name, megabyte) for name in ("Referer", "Origin", "User-Agent", "Accept-Language")),
        ("Cookie", f"_fbp=fb.1.2.3; {cookies}"),
        *(("X-Forwarded-For", "6.6.6.6") for _ in range(5_000)),
        ("X-Forwarded-For", "203.0.113.5"),
    ]

    seen = visitor(headers, f"gclid={megabyte}&" + "a=b&" * 10**6, None, "10.0.0.1", 1)

    assert (seen.fbp, seen.ip_address, seen.page_url) == ("fb.1.2.3", "203.0.113.5", None)
    assert seen.clicks == {}
    assert seen.user_agent == megabyte[:4096]
    assert set(seen.weakened) == {"unusable click ids", "over-long texts"}


@pytest.mark.parametrize(
    ("header", "fbc"),
    [
        ("_fbc=; _fbc=fb.1.1700000000000.AbC", "fb.1.1700000000000.AbC"),
        ("_fbc=junk; _fbc=fb.1.1700000000000.AbC; _fbc=more", "fb.1.1700000000000.AbC"),
        ("_fbc=fb.1.1700000000000.AbC; _fbc=fb.1.1800000000000.New", "fb.1.1800000000000.New"),
        ("_fbc=fb.1.1800000000000.New; _fbc=fb.1.1700000000000.AbC", "fb.1.1800000000000.New"),
        ("_fbc=first; _fbc=second", "first"),
    ],
)
def test_of_several_cookies_of_meta_the_latest_counts(header: str, fbc: str):
    parts = [("cookie", part) for part in header.split("; ")]  # HTTP/2 may send each in a header

    assert visitor([("cookie", header)]).fbc == fbc
    assert visitor(parts).fbc == fbc
