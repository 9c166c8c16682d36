from urllib.parse import parse_qs

import anyio
import httpx
import pytest

from anytrack_async.destinations.hubspot.oauth import Credentials
from anytrack_async.destinations.hubspot.problem import HubSpotError
from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.destinations.sink import NeedsOperator, Throttled, Unavailable
from anytrack_async.transport.session import Session

pytestmark = pytest.mark.asyncio


def granted(token="new", **more):
    return httpx.Response(200, json={"access_token": token, "expires_in": 1800, **more})


def app(**more):
    return OAuthSettings(client_id="client", client_secret="hush", refresh_token="refresh", **more)


@pytest.fixture
def make(wire):
    def make(*, token=None, base="https://api.hubapi.com", **more):
        settings = HubSpotSettings(access_token=token, oauth=app(**more), base_url=base)
        return HubSpotSink(settings, transport=wire)

    return make


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def credentials(wire, clock):
    settings = HubSpotSettings(oauth=app())
    session = Session("hubspot", settings.base_url, headers={}, http=settings.http, transport=wire)
    return Credentials(settings, session, ("oauth", "2026-09", "token"), clock)


async def test_the_first_request_is_preceded_by_a_refresh(hs, make, wire):
    wire.script("token", granted())
    await make().deliver([hs.sale()])

    refresh, deal = wire.calls
    assert refresh.path == "/oauth/2026-09/token"
    assert refresh.request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in refresh.request.headers
    assert parse_qs(refresh.request.content.decode()) == {
        "grant_type": ["refresh_token"],
        "client_id": ["client"],
        "client_secret": ["hush"],
        "refresh_token": ["refresh"],
    }
    assert deal.token == "new"


async def test_a_refused_token_is_refreshed_once_and_the_request_sent_again(hs, make, wire):
    wire.script("deals", hs.refusal(401, "EXPIRED_AUTHENTICATION"))
    wire.script("token", granted())

    (outcome,) = await make(token="old").deliver([hs.sale()])

    assert outcome.status == "delivered"
    assert wire.ops == ["deals", "token", "deals"]
    assert [call.token for call in wire.of("deals")] == ["old", "new"]


async def test_a_token_refused_after_the_refresh_holds_the_lane(hs, make, wire):
    wire.script("deals", *(hs.refusal(401, "INVALID_AUTHENTICATION") for _ in range(2)))
    wire.script("token", granted())

    with pytest.raises(NeedsOperator):
        await make(token="old").deliver([hs.sale()])
    assert wire.ops == ["deals", "token", "deals"]


async def test_many_requests_share_one_refresh(hs, make, wire, monkeypatch):
    wire.script("deals", *(hs.refusal(401, "EXPIRED_AUTHENTICATION") for _ in range(5)))
    wire.script("token", granted())
    all_asked, answer = anyio.Event(), wire.handle_async_request

    async def together(request):
        refused = await answer(request)
        if len(wire.of("deals")) == 5:
            all_asked.set()
        if wire.calls[-1].op == "deals":
            await all_asked.wait()
        return refused

    monkeypatch.setattr(wire, "handle_async_request", together)
    sink = make(token="old")

    async with anyio.create_task_group() as tg:
        for number in range(5):
            tg.start_soon(sink.deliver, [hs.sale(str(number))])

    assert len(wire.of("token")) == 1
    assert [call.token for call in wire.of("deals")] == ["old"] * 5 + ["new"] * 5


async def test_a_token_is_renewed_before_its_end(credentials, clock, wire):
    wire.script("token", granted("first", expires_in=1800), granted("second", expires_in=100))

    assert await credentials.current() == "first"
    clock.now = 1739.0
    assert await credentials.current() == "first"
    clock.now = 1740.0
    assert await credentials.current() == "second"
    clock.now += 89.0
    assert await credentials.current() == "second"
    wire.script("token", granted("third"))
    clock.now += 1.0
    assert await credentials.current() == "third"


@pytest.mark.parametrize("expires_in", [None, "soon", -1])
async def test_an_unknown_lifetime_is_half_an_hour(credentials, clock, wire, expires_in):
    wire.script("token", granted("first", expires_in=expires_in), granted("second"))

    assert await credentials.current() == "first"
    clock.now = 1739.0
    assert await credentials.current() == "first"
    clock.now = 1740.0
    assert await credentials.current() == "second"


async def test_a_rotated_refresh_token_is_used_next(credentials, clock, wire):
    wire.script("token", granted(refresh_token="refresh-2"), granted())
    await credentials.current()
    clock.now = 5000.0
    await credentials.current()

    forms = [parse_qs(call.request.content.decode()) for call in wire.calls]
    assert [form["refresh_token"] for form in forms] == [["refresh"], ["refresh-2"]]


async def test_identity_outlives_the_tokens(credentials, wire, clock):
    before = credentials.identity
    wire.script("token", granted(refresh_token="refresh-2"))
    await credentials.current()

    assert credentials.identity == before


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_new_tokens_are_passed_to_on_tokens(hs, make, wire, kind):
    seen = []

    async def keep(tokens):
        await anyio.lowlevel.checkpoint()
        seen.append(tokens)

    wire.script("token", granted(refresh_token="refresh-2"))
    await make(on_tokens=seen.append if kind == "sync" else keep).deliver([hs.sale()])

    (tokens,) = seen
    assert (tokens.access_token, tokens.refresh_token) == ("new", "refresh-2")
    assert tokens.expires_at.utcoffset().total_seconds() == 0


async def test_a_callback_that_fails_does_not_stop_the_delivery(hs, make, wire, caplog):
    def fail(tokens):
        raise OSError(tokens.access_token + tokens.refresh_token)

    wire.script("token", granted("secret-token"))

    (outcome,) = await make(on_tokens=fail).deliver([hs.sale()])

    assert outcome.status == "delivered"
    assert "on_tokens failed (OSError)" in caplog.text
    assert "secret-token" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "signal"),
    [
        (
            httpx.Response(400, json={"status": "BAD_REFRESH_TOKEN", "message": "invalid"}),
            NeedsOperator,
        ),
        (httpx.Response(401, json={}), NeedsOperator),
        (httpx.Response(503), Unavailable),
        (httpx.Response(429, json={"policyName": "SECONDLY"}), Throttled),
        (httpx.Response(200, text="<html>"), Unavailable),
        (httpx.Response(200, json={"token": "x"}), Unavailable),
        (httpx.Response(200, json=[]), Unavailable),
        (httpx.ConnectError("no route"), Unavailable),
    ],
    ids=repr,
)
async def test_a_failed_refresh_signals_the_lane(hs, make, wire, answer, signal):
    wire.script("token", answer)

    with pytest.raises(signal, match="the access token could not be refreshed"):
        await make().deliver([hs.sale()])
    assert wire.ops == ["token"]


async def test_a_failed_refresh_is_retried_with_the_next_batch(hs, make, wire):
    wire.script("token", httpx.Response(503), granted())
    sink = make()
    with pytest.raises(Unavailable):
        await sink.deliver([hs.sale()])

    assert (await sink.deliver([hs.sale()]))[0].status == "delivered"


async def test_a_cancelled_refresh_does_not_block_the_next_one(credentials, wire):
    async def slow():
        with anyio.move_on_after(0):
            await credentials.current()

    wire.script("token", granted("late"), granted("next"))
    async with anyio.create_task_group() as tg:
        tg.start_soon(slow)

    assert await credentials.current() in ("late", "next")


async def test_without_an_oauth_app_a_token_cannot_be_renewed(wire):
    settings = HubSpotSettings(access_token="static")
    session = Session("hubspot", settings.base_url, headers={}, http=settings.http, transport=wire)
    credentials = Credentials(settings, session, ("oauth", "2026-09", "token"))

    assert await credentials.renew("static") is None
    credentials.use("rotated")
    assert await credentials.renew("static") == "rotated"
    credentials._token = None
    with pytest.raises(HubSpotError, match="no access token"):
        await credentials.current()


async def test_a_new_refresh_token_replaces_a_refused_one(hs, make, wire):
    wire.script("token", hs.refusal(400, "INVALID", "no such refresh token"), granted("late"))
    sink = make()
    with pytest.raises(NeedsOperator):
        await sink.deliver([hs.sale()])

    sink.use_token("new-refresh")
    await sink.deliver([hs.sale()])

    *_, refresh, deal = wire.calls
    assert parse_qs(refresh.request.content.decode())["refresh_token"] == ["new-refresh"]
    assert deal.token == "late"


async def test_a_refresh_token_replaced_during_a_refresh_is_used(credentials, wire):
    def replaced(call):
        credentials.use("new-refresh")
        return granted("outdated", refresh_token="outdated")

    wire.script("token", replaced, granted("current"))

    assert await credentials.current() == "current"
    last = wire.calls[-1].request.content.decode()
    assert parse_qs(last)["refresh_token"] == ["new-refresh"]


async def test_version_v3_refreshes_at_the_older_path(hs, wire):
    wire.script("token", granted())
    sink = HubSpotSink(HubSpotSettings(oauth=app(), api_version="v3"), transport=wire)
    await sink.deliver([hs.sale()])

    assert wire.calls[0].path == "/oauth/v1/token"
