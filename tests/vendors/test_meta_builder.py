"""Values that Meta's parameter builder made are read as what they are, and clicks as it reads them.

The builder marks each of its values with eight characters; its first releases used two.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import md5, sha256
from typing import Any

import pytest
from capi_param_builder import ParamBuilder
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.meta.hashing import hashed
from anytrack_async.destinations.meta.user_data import user_data
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaFields
from anytrack_async.models.visitor import public_address

BUILDER = ParamBuilder(["shop.example"])
MARKERS = [
    *(BUILDER.appendix_net_new, BUILDER.appendix_modified_new, BUILDER.appendix_no_change),
    *("AQICAQMC", "a1b2c3d4", "-_-_-_-_", "Ag", "Bg", "AQIAAQMC.AQIAAQMC"),
]
HASHED = ("em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country")
DIGESTS = [sha256(b"jane").hexdigest(), md5(b"jane", usedforsecurity=False).hexdigest()]
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
MILLISECONDS = (NOW - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def user_of(page_url: str | None = None, meta: MetaFields | None = None, **customer: Any) -> Any:
    sale = Conversion.sale(
        revenue=1, timestamp=NOW, page_url=page_url, meta=meta, customer=Customer(**customer)
    )
    return user_data(sale)


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("digest", DIGESTS, ids=["sha256", "md5"])
def test_a_marked_digest_is_that_digest(digest: str, marker: str):
    for field in HASHED:
        assert hashed(field, f"{digest}.{marker}") == digest
        assert hashed(field, f" {digest.upper()}.{marker} ") == digest
    assert user_of(external_id=f"{digest}.{marker}")["external_id"] == [digest]
    assert user_of(email=f"{digest}.{marker}", phone=f"{digest}.{marker}") == {
        "em": [digest],
        "ph": [digest],
    }


@pytest.mark.parametrize("marker", ["AQICAQM", "AQICAQMCx", "XX", "AQICAQ!C", "", ".AQICAQMC"])
def test_other_endings_make_no_digest(marker: str):
    assert hashed("em", f"{DIGESTS[0]}.{marker}") is None


def test_the_digest_of_nothing_stays_unusable_with_a_marker():
    assert hashed("em", f"{sha256(b'').hexdigest()}.AQICAQMC") is None


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize(
    "address", ["8.8.8.8", "203.0.113.25", "2001:4860:4860::8888", "2001:db8:1:2:3:4:5:6"]
)
def test_a_marked_address_is_that_address(address: str, marker: str):
    assert public_address(f"{address}.{marker}") == address
    assert public_address(f"192.168.1.1.{marker}, {address}.{marker}") == address
    assert public_address(f"192.168.1.1.{marker}") is None
    assert public_address(f"fe80::1.{marker}") is None


@pytest.mark.parametrize("ending", ["1234567", "123456789", "XX"])
def test_other_endings_make_no_address(ending: str):
    assert public_address(f"8.8.8.8.{ending}") is None


@pytest.mark.parametrize("marker", MARKERS[:-1])
def test_marked_cookies_go_out_as_they_are(marker: str):
    cookies = {"fbc": f"fb.1.1554763741205.AbC.{marker}", "fbp": f"fb.1.1596403881668.1.{marker}"}

    assert user_of(**cookies) == cookies


EXTERNAL_IDS = [
    ("     User123    ", "user123"),
    ("user   123", "user123"),
    ("\tuser123\t", "user123"),
    (" \t\n user123 \t\n ", "user123"),
    ("ID With Space", "idwithspace"),
    ("user\xa01\u20032\u30003\ufeff", "user123"),
    ("Company_User-123.456@domain.com", "company_user-123.456@domain.com"),
    ("Üser123", "üser123"),
    ("user👤123", "user👤123"),
    ('{"userId": 123, "company": "ABC"}', '{"userid":123,"company":"abc"}'),
]
"""From the tests of the builder: the id, and what the builder hashes."""


@pytest.mark.parametrize(("external_id", "normalised"), EXTERNAL_IDS)
def test_external_ids_are_hashed_as_the_builder_hashes_them(external_id: str, normalised: str):
    digest = sha256(normalised.encode()).hexdigest()

    assert user_of(external_id=external_id) == {"external_id": [digest]}


def built_fbc(cookie: str | None, fbclid: str | None, referrer: str | None = None) -> str | None:
    """Return the builder's fbc: its index and payload, without the marker and the time."""
    cookies = {} if cookie is None else {"_fbc": cookie}
    BUILDER.process_request(
        "shop.example", {} if fbclid is None else {"fbclid": [fbclid]}, cookies, referrer
    )
    return BUILDER.get_fbc()


CLICKS = st.sampled_from(["OLD", "NEW", "IwAR_x-1"])
COOKIES = CLICKS.map("fb.1.1554763741205.{}".format) | st.sampled_from(["garbage", "fb.1.2"])


@given(st.none() | COOKIES, st.none() | CLICKS, st.none() | CLICKS)
def test_the_click_is_the_one_that_the_builder_finds(
    cookie: str | None, clicked: str | None, referred: str | None
):
    page = "https://shop.example/thanks" + (f"?a=1&fbclid={clicked}" if clicked else "")
    referrer = referred and f"https://l.facebook.com/?fbclid={referred}"
    built = built_fbc(cookie, clicked, referrer)
    meta = None if referrer is None else MetaFields(referrer_url=referrer)

    found = user_of(page, meta, fbc=cookie).get("fbc")

    assert (built is None) == (found is None)
    if built is not None:
        _, _, moment, click, _ = built.split(".")
        kept = cookie is not None and built.startswith(cookie)
        assert found == f"fb.1.{moment if kept else MILLISECONDS}.{click}"


def test_a_new_click_in_the_page_beats_the_cookie_of_an_older_one():
    old, page = "fb.1.1554763741205.OLD.AQICAQMC", "https://shop.example/?fbclid="

    assert user_of(page + "NEW", fbc=old) == {"fbc": f"fb.1.{MILLISECONDS}.NEW"}
    assert user_of(page + "NEW", fbc=old, fbclid="OLD") == {"fbc": f"fb.1.{MILLISECONDS}.NEW"}
    assert user_of(page + "OLD", fbc=old) == {"fbc": old}
    assert user_of(page, fbc=old) == {"fbc": old}
    assert user_of(page + "a.b", fbc=old) == {"fbc": old}


@pytest.mark.parametrize("marker", ["AQICAQMC", "Ag"])
def test_the_marker_of_a_url_is_not_part_of_its_click(marker: str):
    page = f"https://shop.example/?fbclid=AbC.{marker}"

    assert user_of(page)["fbc"] == f"fb.1.{MILLISECONDS}.AbC"
    assert user_of(page, fbc="fb.1.1554763741205.AbC")["fbc"] == "fb.1.1554763741205.AbC"
