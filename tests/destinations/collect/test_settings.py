"""The collect URL is taken apart, checked, and shown nowhere."""

from __future__ import annotations

import logging
import traceback

import httpx
import pytest

from anytrack_async import (
    AnyTrackClient,
    CollectSettings,
    CollectSink,
    ConfigurationError,
    DeliveryTimeoutError,
    HttpSettings,
)
from tests.destinations.collect.doubles import PROPERTY, SLUG, Endpoint

URL = f"https://t1.anytrack.io/{PROPERTY}/collect/{SLUG}"


@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        (URL, "https://t1.anytrack.io"),
        (URL + "/", "https://t1.anytrack.io"),
        (URL + "?click_id={sub1}", "https://t1.anytrack.io"),
        (URL.replace("io/", "io/assets/"), "https://t1.anytrack.io/assets"),
        (URL.replace("https://t1.anytrack.io", "http://127.0.0.1:8400"), "http://127.0.0.1:8400"),
    ],
)
def test_the_url_has_property_and_slug(url, base_url):
    settings = CollectSettings.from_url(url)

    assert (settings.property_id, settings.slug) == (PROPERTY, SLUG)
    assert settings.base_url == base_url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://t1.anytrack.io",
        f"https://t1.anytrack.io/{PROPERTY}/{SLUG}",
        f"https://t1.anytrack.io/{PROPERTY}/collect/",
        f"http://t1.anytrack.io/{PROPERTY}/collect/{SLUG}",
        f"https://user:pass@t1.anytrack.io/{PROPERTY}/collect/{SLUG}",
        f"https://[t1/{PROPERTY}/collect/{SLUG}",
        f"https://t1.anytrack.io/{PROPERTY}/collect/{SLUG}%2F..",
        None,
        7,
    ],
)
def test_another_url_is_refused_and_not_quoted(url):
    with pytest.raises(ConfigurationError) as caught:
        CollectSettings.from_url(url)

    shown = "".join(traceback.format_exception(caught.value))
    assert PROPERTY not in shown.replace(__file__, "")
    assert SLUG not in shown


def test_the_variable_is_named_but_not_shown():
    assert CollectSettings.from_env({}) is None
    with pytest.raises(ConfigurationError, match="ANYTRACK_COLLECT_URL: ") as caught:
        CollectSettings.from_env({"ANYTRACK_COLLECT_URL": f"https://x.test/{SLUG}"})

    assert SLUG not in str(caught.value)


@pytest.mark.asyncio
async def test_the_url_is_shown_nowhere(caplog):
    caplog.set_level(logging.DEBUG)
    quoting = Endpoint(404, f'{{"error": "no /{PROPERTY}/collect/{SLUG} here"}}')
    settings = CollectSettings.from_url(URL, http=HttpSettings(timeout=5))
    client = AnyTrackClient(collect=settings, transport=quoting)

    async with client:
        with pytest.raises(DeliveryTimeoutError) as caught:
            await client.track_sale("c", 1, timeout=0.3)
        stats = await client.stats()
        quoting.status, quoting.content = 200, "{}"
        client.resume("anytrack")
        await caught.value.delivery

    shown = f"{settings!r} {client!r} {stats!r} {caught.value} {caplog.text}"
    assert "is the collect URL (ANYTRACK_COLLECT_URL) right?" in shown
    for secret in (PROPERTY, SLUG):
        assert secret not in shown
        assert secret.lower()[:8] not in shown.lower()


@pytest.mark.asyncio
async def test_a_broken_connection_does_not_show_the_url():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"cannot connect for {request.url}")

    sink = CollectSink(PROPERTY, SLUG, transport=httpx.MockTransport(refuse))
    (finding,) = await sink.check()

    assert not finding.ok
    assert SLUG not in finding.message
