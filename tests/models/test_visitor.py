"""Values that a visitor controls: what is kept, cut, cleaned and left out."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from numbers import Integral
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.models import visitor
from anytrack_async.models.visitor import (
    public_address,
    visitor_id,
    visitor_name,
    visitor_text,
    visitor_url,
)

READERS = (public_address, visitor_id, visitor_name, visitor_text, visitor_url)


class Hostile:
    """Raises whatever is done with it."""

    def __str__(self) -> str:
        raise RuntimeError("hostile")

    __eq__ = __ne__ = __len__ = __iter__ = __bool__ = __str__  # type: ignore[assignment]


class Url:
    """A URL as web frameworks have it."""

    def __str__(self) -> str:
        return "https://shop.example.com/?fbclid=AbC"


# numpy is no dependency of the tests: its types are known by their names.
NumpyFlag = type("bool", (), {"__str__": lambda _: "True"})
NumpyNaT = type(
    "datetime64", (), {"__str__": lambda _: "NaT", "__ne__": lambda *_: True, "__hash__": None}
)


def cannot(_: object) -> Any:
    raise TypeError("not possible")


NumpyDuration = Integral.register(type("timedelta64", (), {"__int__": cannot, "__str__": cannot}))

VALUES = [Hostile(), object(), True, [], {"a": 1}, 1.5, float("inf"), 2**7000]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("value", [*VALUES, NumpyFlag(), NumpyNaT(), NumpyDuration()])
def test_a_value_of_a_wrong_type_is_left_out(reader: Any, value: Any):
    assert reader(value) is None


@pytest.mark.parametrize("reader", READERS)
@given(st.text() | st.binary() | st.floats() | st.integers() | st.lists(st.text()))
def test_no_value_raises(reader: Any, value: Any):
    kept = reader(value)

    assert kept is None or (kept and kept == reader(kept) and kept.encode())


def test_text_loses_control_characters_and_is_cut():
    assert visitor_text(" Mozilla\r\n/5.0\x00\ud800 ") == "Mozilla/5.0"
    assert visitor_text("x" * 5000) == "x" * 4096
    assert visitor_text("é🏳️\u200d🌈") == "é🏳️\u200d🌈"
    for header in (b"Mozilla/5.0", bytearray(b"Mozilla/5.0"), memoryview(b"Mozilla/5.0")):
        assert visitor_text(header) == "Mozilla/5.0"  # type: ignore[arg-type]


def test_a_long_url_is_cut_between_parameters():
    start = "https://shop.example.com/?p=" + "x" * 4000

    assert visitor_url(f"{start}&fbclid={'A' * 500}&q=1") == start
    assert (
        visitor_url(f"https://shop.example.com/{'x' * 5000}")
        == f"https://shop.example.com/{'x' * 5000}"[:4096]
    )
    assert visitor_url(Url()) == str(Url())  # type: ignore[arg-type]


def test_an_id_is_kept_whole_or_left_out():
    assert visitor_id(" abc ") == "abc"
    assert visitor_id("x" * 1024, 1024) == "x" * 1024
    for damaged in ("x" * 1025, "a\x00b", "a\nb", "a\ud800"):
        assert visitor_id(damaged, 1024) is None


@pytest.mark.parametrize("reader", READERS)
def test_a_lazy_object_that_stands_for_text_is_text(reader: Any):
    lazy = pytest.importorskip("django.utils.functional").SimpleLazyObject(lambda: "203.0.113.5")

    kept = reader(lazy)

    assert (kept, type(kept)) == ("203.0.113.5", str)


def test_a_name_loses_control_characters():
    assert visitor_name("goo\x00gle") == "google"
    assert visitor_name("x" * 5000) is None


@pytest.mark.parametrize(
    "value",
    [
        "203.0.113.5",
        " 203.0.113.5 ",
        "203.0.113.5:4711",
        "203.0.113.5, 70.41.3.18, 150.172.238.178",
        "10.0.0.1,203.0.113.5",
        "unknown, 127.0.0.1, 192.168.0.1:80, fe80::1%eth0, 203.0.113.5",
        "::ffff:203.0.113.5",
        "[::ffff:203.0.113.5]:443",
        'for="[::ffff:203.0.113.5]:_p1"',
        "::ffff:203.0.113.5:4711",
        "/203.0.113.5:4711",
        "::FFFF:cb00:7105",
        'for=10.0.0.1, for="203.0.113.5:80";proto=https;by=70.41.3.18',
        ["10.0.0.1", "203.0.113.5"],
        ("203.0.113.5", 4711),
        IPv4Address("203.0.113.5"),
        IPv6Address("::ffff:203.0.113.5"),
        b"203.0.113.5",
        *("203.0.113.5/32", "64:ff9b::203.0.113.5", "203.0.113.5|70.41.3.18"),
        *("(203.0.113.5)", "<203.0.113.5>", "203.0.113.5 (proxy)"),
        *("203.0.113.5\0", "\ufeff203.0.113.5\u200b", "\u200e203.0.113.5"),
        ["10.0.0.1", None, "203.0.113.5"],
    ],
)
def test_the_first_public_address_is_kept(value: Any):
    assert public_address(value) == "203.0.113.5"


@pytest.mark.parametrize(
    "value",
    ["2001:db8::7", "[2001:db8::7]:443", "[2001:db8::7]", "2001:DB8:0::7", "::1, 2001:db8::7%0"],
)
def test_addresses_of_version_6_lose_port_and_interface(value: str):
    assert public_address(value) == "2001:db8::7"


@pytest.mark.parametrize(
    "value",
    [
        *("", "unknown", "-", "203.0.113", "203.0.113.999", "203.0.113.005", ":", "[", "[]:1", "%"),
        *("10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
        *("127.0.0.1", "169.254.1.1", "0.0.0.0", "255.255.255.255", "240.0.0.1", "224.0.0.1"),
        *("::", "::1", "fe80::1", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "::ffff:10.0.0.1"),
    ],
)
def test_addresses_that_are_not_public_are_left_out(value: str):
    assert public_address(value) is None


def test_a_header_of_any_length_is_read_in_no_time():
    """Of the parts of ``X-Forwarded-For``, which a bot can make long, the first 64 count."""
    assert public_address("10.0.0.1," * 63 + "203.0.113.5") == "203.0.113.5"
    assert public_address("10.0.0.1," * 64 + "203.0.113.5") is None
    assert public_address(".abcdefgh" * 100_000 + "!") is None  # would take minutes
    assert public_address("for=;" * 1_500 + ", 203.0.113.5") is None  # more than 6,400 characters


@given(st.ip_addresses())
def test_the_fast_check_accepts_only_public_addresses(address: IPv4Address | IPv6Address):
    for text in (str(address), address.exploded):
        if visitor._CERTAINLY_PUBLIC(text):
            assert visitor._is_public(address)


groups = st.sampled_from([0, 0, 1, 0xDB8, 0x200]) | st.integers(0, 0xFFFF)


@given(st.integers(0x2000, 0x3FFF), st.lists(groups, min_size=7, max_size=7))
def test_the_fast_check_accepts_shortened_addresses_as_they_are_written(
    first: int, rest: list[int]
):
    text = IPv6Address(":".join(f"{group:x}" for group in (first, *rest))).compressed

    if visitor._CERTAINLY_PUBLIC(text):
        assert visitor._public_or_none(text) == text


@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        *(("2a00:1450:4001:82a::200e", True), ("2606:4700::6810:84e5", True), ("2a02::1", True)),
        *(
            ("2a02:1::0:1", False),
            ("2a02:01::1", False),
            ("2a02::1::2", False),
            ("2a02:::1", False),
        ),
        *(("2a02:1:2:3:4:5::6", False), ("2a02::1:2:3:4:5:6", False), ("2001::1", False)),
    ],
)
def test_the_fast_check_accepts_up_to_six_groups_without_zeros(address: str, accepted: bool):
    assert bool(visitor._CERTAINLY_PUBLIC(address)) is accepted


def test_the_fast_check_knows_every_network_of_version_4():
    for high in range(256):
        for low in (0, 1, 15, 16, 18, 19, 20, 31, 32, 63, 64, 99, 100, 127, 128, 168, 254, 255):
            address = f"{high}.{low}.0.1"
            if visitor._CERTAINLY_PUBLIC(address):
                assert visitor._is_public(IPv4Address(address)), address
