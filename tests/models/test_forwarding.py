"""The address of a visitor behind proxies: only what trusted hops wrote counts."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.errors import InvalidArgumentError
from anytrack_async.models.forwarding import client_address, to_trust

VISITOR, LIE, OTHER = "203.0.113.5", "6.6.6.6", "198.51.100.9"
PROXIES = ["10.0.0.0/8", "2001:db8:1::/48"]


def address(peer: str | None, trusted: Any, **headers: str) -> str | None:
    return client_address(peer, to_trust(trusted), **headers)


@pytest.mark.parametrize("trusted", [(), 0, ["192.0.2.0/24"]])
@pytest.mark.parametrize("header", ["forwarded_for", "cloudflare", "forwarded"])
def test_headers_of_a_peer_that_is_not_trusted_do_not_count(trusted: Any, header: str):
    value = f"for={LIE}" if header == "forwarded" else LIE

    assert address(VISITOR, trusted, **{header: value}) == VISITOR


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("forwarded_for", f"{LIE}, {VISITOR}"),
        ("forwarded_for", f"{LIE},{VISITOR}:4711 , 10.0.0.7"),
        ("forwarded_for", f"10.0.0.1, {VISITOR}, 10.0.0.7,10.0.0.8"),
        ("forwarded", f"for={LIE}, for={VISITOR}"),
        ("forwarded", f'for={LIE};by=10.9.9.9, FOR="{VISITOR}:80";proto=https, for=10.0.0.7'),
        ("forwarded", f'for="{LIE}, for={VISITOR}'),  # the visitor opened a quote
        ("cloudflare", f" {VISITOR} "),
    ],
)
def test_the_first_address_from_the_right_that_is_no_proxy_is_the_visitor(header: str, value: str):
    assert address("10.0.0.2", PROXIES, **{header: value}) == VISITOR
    assert address("::ffff:10.0.0.2", PROXIES, **{header: value}) == VISITOR


def test_an_address_of_version_6_is_read_with_and_without_brackets():
    for value in ("2001:db8:2::7", "[2001:db8:2::7]", "[2001:db8:2::7]:443"):
        chain = f"{LIE}, {value}, 2001:db8:1::5"
        assert address("2001:db8:1::1", PROXIES, forwarded_for=chain) == "2001:db8:2::7"
        assert address("10.1.1.1", PROXIES, forwarded=f'for="{value}"') == "2001:db8:2::7"


@pytest.mark.parametrize(
    ("hops", "chain", "expected"),
    [
        (1, f"{LIE}, {VISITOR}", VISITOR),
        (2, f"{LIE}, {VISITOR}, {OTHER}", VISITOR),
        (2, VISITOR, VISITOR),  # the request came past the outer proxy
        (3, f"{LIE}, {VISITOR}, {OTHER}, {OTHER}", VISITOR),
    ],
)
def test_a_number_of_hops_counts_from_the_right(hops: int, chain: str, expected: str):
    elements = ", ".join(f"for={entry.strip()}" for entry in chain.split(","))

    for peer in ("10.0.0.2", None, "testclient"):
        assert address(peer, hops, forwarded_for=chain) == expected
        assert address(peer, hops, forwarded=elements) == expected


@pytest.mark.parametrize("hidden", ["unknown", "_hidden", "", "1.2.3", "999.1.1.1"])
def test_a_hop_that_hides_the_visitor_ends_the_search(hidden: str):
    assert address("10.0.0.2", PROXIES, forwarded=f"for={LIE}, for={hidden}") is None
    assert address("10.0.0.2", 1, forwarded=f"for={LIE}, for={hidden}") is None


def test_proxies_alone_give_the_outermost():
    assert address("10.0.0.2", PROXIES, forwarded_for="10.0.0.9, 10.0.0.8") == "10.0.0.9"
    assert address("10.0.0.2", PROXIES) == "10.0.0.2"


def test_headers_that_contradict_each_other_give_no_address():
    """A proxy that writes one header passes the others on as the visitor sent them."""
    for lie in ({"forwarded": f"for={LIE}"}, {"cloudflare": LIE}):
        assert address("10.0.0.2", PROXIES, forwarded_for=VISITOR, **lie) is None
    same = {"forwarded": f"for={VISITOR}", "cloudflare": VISITOR}
    assert address("10.0.0.2", PROXIES, forwarded_for=VISITOR, **same) == VISITOR


def test_a_unix_socket_is_trusted_if_the_settings_say_so():
    assert address(None, PROXIES, forwarded_for=LIE) is None
    assert address(None, ["unix"], forwarded_for=VISITOR) == VISITOR


def test_networks_are_text_or_objects():
    for trusted in ("10.0.0.2", ip_network("10.0.0.0/8"), ("10.0.0.2/32",), {"10.0.0.2"}):
        assert address("10.0.0.2", trusted, forwarded_for=VISITOR) == VISITOR


@pytest.mark.parametrize("wrong", [-1, "10.0.0.1/8", ["shop"], None, 1.5])
def test_trusted_proxies_that_are_no_networks_are_refused(wrong: Any):
    with pytest.raises(InvalidArgumentError, match="trusted_proxies"):
        to_trust(wrong)


@given(
    st.text(alphabet='0123456789.:,;=for"[]%_ \x00\ud800é') | st.text(),
    st.none() | st.text() | st.just("10.0.0.2"),
    st.integers(0, 80) | st.just(PROXIES),
)
def test_no_header_raises(header: str, peer: str | None, trusted: Any):
    for name in ("forwarded", "forwarded_for", "cloudflare"):
        found = address(peer, trusted, **{name: header})
        assert found is None or found.isascii()


def test_what_a_visitor_puts_before_the_chain_changes_nothing():
    for junk in ("x" * 10**6, "1.1.1.1," * 10**5, ",," * 10**5, '"'):
        chain = f"{junk}, {VISITOR}"
        assert address("10.0.0.2", PROXIES, forwarded_for=chain) == VISITOR
        assert address("10.0.0.2", 1, forwarded_for=chain) == VISITOR
