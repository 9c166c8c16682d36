"""The client's arguments and environment variables, and the errors for wrong ones."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytest

from anytrack_async import (
    AnyTrackClient,
    ConfigurationError,
    DeliverySettings,
    HttpSettings,
    HubSpotSettings,
    HubSpotSink,
    MemoryOutbox,
    MetaSettings,
    MetaSink,
    OutboxError,
    SQLiteOutbox,
)
from anytrack_async.client.config import make_outbox, outbox_from_env, sinks_from_env
from tests.client.service import SECRETS, Service

ENV = {
    "ANYTRACK_API_KEY": SECRETS[0],
    "ANYTRACK_ACCOUNT_ID": "account-1",
    "META_PIXEL_ID": "p1",
    "META_ACCESS_TOKEN": SECRETS[1],
    "HUBSPOT_ACCESS_TOKEN": SECRETS[2],
}


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in ENV.items() if name not in names}


# Arguments


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize("name", ["api_key", "account_id"])
def test_a_missing_argument_is_named_with_its_variable(name: str, value: Any):
    arguments = {"api_key": "k", "account_id": "a", name: value}

    with pytest.raises(ConfigurationError) as caught:
        AnyTrackClient(**arguments)

    assert str(caught.value).startswith(
        f"{name} is missing: pass it to AnyTrackClient, or set ANYTRACK_{name.upper()}"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base_url": "http://example.com"}, "base_url must be https"),
        ({"outbox": 5}, "outbox must be an Outbox or a path, got int"),
        ({"outbox": []}, "outbox must be an Outbox or a path, got list"),
        ({"sinks": [MetaSettings(pixel_id="p", access_token="t")]}, "got MetaSettings"),
        ({"sinks": [MetaSink]}, "sinks must be Sink objects such as MetaSink(settings), got Meta"),
        ({"sinks": [None]}, "got NoneType"),
        ({"sinks": None}, "sinks must be a list, got NoneType"),
        ({"observers": print}, "observers must be a list, got builtin_function_or_method"),
        ({"from_start": 5}, "from_start must be a list, got int"),
        ({"observers": [print]}, "needs a notify(event)"),
        ({"from_start": "meta"}, "from_start must be a list: ['meta']"),
        ({"from_start": ["hubspto"]}, "no destination 'hubspto'; known destinations: anytrack"),
        ({"http": 30}, "http must be a HttpSettings"),
        ({"delivery": 30}, "delivery must be"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(options: dict[str, Any], words: str):
    with pytest.raises(ConfigurationError) as caught:
        AnyTrackClient("k", "a", **options)
    assert words in str(caught.value)


def test_a_single_sink_is_not_a_list(service: Service):
    sink: Any = service.meta()
    with pytest.raises(ConfigurationError, match=r"^sinks must be a list, got MetaSink$"):
        service.client(sinks=sink)
    with pytest.raises(ConfigurationError, match=r"^sinks must be a list, got MetaSink$"):
        AnyTrackClient.from_env(ENV, sinks=sink)


def test_sinks_may_come_from_an_iterator(service: Service):
    assert repr(service.client(sinks=iter([service.meta()]))) == "<AnyTrackClient: anytrack, meta>"


def test_two_sinks_cannot_share_a_name(service: Service):
    with pytest.raises(ConfigurationError, match=r"two sinks share a name: anytrack, meta, meta"):
        service.client(sinks=[service.meta(), service.meta()])


def test_a_key_that_is_not_valid_in_a_header_is_refused_and_not_shown():
    with pytest.raises(ConfigurationError) as caught:
        AnyTrackClient(SECRETS[0] + "\n", "a")
    assert SECRETS[0] not in str(caught.value)


def test_the_repr_shows_destinations_and_no_secret(service: Service):
    client = service.client(sinks=[service.meta(), service.hubspot()])

    assert repr(client) == "<AnyTrackClient: anytrack, meta, hubspot>"
    assert not any(secret in f"{client!s} {vars(client)}" for secret in SECRETS)


def test_making_a_client_opens_nothing(service: Service, tmp_path: Path):
    service.client(outbox=tmp_path / "missing" / "a.db")

    assert service.requests == []
    assert list(tmp_path.iterdir()) == []


# Timeouts and the lease


def meta(timeout: float) -> MetaSink:
    http = HttpSettings(timeout=timeout)
    return MetaSink(MetaSettings(pixel_id="p", access_token="t", http=http))


def hubspot(timeout: float, **more: Any) -> HubSpotSink:
    http = HttpSettings(timeout=timeout)
    return HubSpotSink(HubSpotSettings(access_token="t", http=http, **more))


EVENTS = {"mode": "events", "event_name": "pe1_sale"}
SHORTEST_LEASES = {
    # options, and a lease that is just long enough
    "anytrack": ({"http": HttpSettings(timeout=76)}, 100),
    "meta": ({"sinks": [meta(80)]}, 100),
    "deals": ({"sinks": [hubspot(80)]}, 300),
    "deals alone": ({"sinks": [hubspot(80, contacts=False)]}, 100),
    "events": ({"sinks": [hubspot(80, **EVENTS)]}, 100),
}


@pytest.mark.parametrize(("options", "lease"), SHORTEST_LEASES.values(), ids=SHORTEST_LEASES)
def test_a_lease_too_short_for_a_timeout_is_refused(options: dict[str, Any], lease: float):
    AnyTrackClient("k", "a", **options, delivery=DeliverySettings(lease=lease))

    with pytest.raises(ConfigurationError) as caught:
        AnyTrackClient("k", "a", **options, delivery=DeliverySettings(lease=lease - 0.1))

    assert f"set DeliverySettings(lease={lease}) or a shorter HttpSettings(timeout=…)" in str(
        caught.value
    )


def test_the_longest_timeout_for_the_default_lease():
    AnyTrackClient("k", "a", http=HttpSettings(timeout=91))

    with pytest.raises(ConfigurationError, match=r"timeout of 'anytrack'.* 96\.84 s .*, 96 s$"):
        AnyTrackClient("k", "a", http=HttpSettings(timeout=92))


def test_a_short_lease_is_accepted_with_default_timeouts():
    AnyTrackClient("k", "a", sinks=[meta(30), hubspot(30)], delivery=DeliverySettings(lease=1))


def test_an_infinite_timeout_needs_an_infinite_lease():
    options: dict[str, Any] = {"http": HttpSettings(timeout=inf)}

    AnyTrackClient("k", "a", **options, delivery=DeliverySettings(lease=inf))
    with pytest.raises(ConfigurationError, match="lease=inf"):
        AnyTrackClient("k", "a", **options)


# Outboxes


def test_an_outbox_may_be_none_a_path_or_an_outbox(tmp_path: Path):
    outbox = MemoryOutbox()

    assert isinstance(make_outbox(None), MemoryOutbox)
    assert isinstance(make_outbox(str(tmp_path / "a.db")), SQLiteOutbox)
    assert isinstance(make_outbox(tmp_path / "a.db"), SQLiteOutbox)
    assert isinstance(make_outbox(":memory:"), MemoryOutbox)
    assert isinstance(outbox_from_env({"ANYTRACK_OUTBOX": ":memory:"}), MemoryOutbox)
    assert make_outbox(outbox) is outbox


def test_the_client_shows_its_outbox():
    outbox = MemoryOutbox()
    assert AnyTrackClient("k", "a", outbox=outbox).outbox is outbox


# Environment


def test_the_environment_configures_all_destinations_and_the_outbox(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ANYTRACK_OUTBOX", str(tmp_path / "a.db"))

    client = AnyTrackClient.from_env()

    assert repr(client) == "<AnyTrackClient: anytrack, meta, hubspot>"
    assert isinstance(client.outbox, SQLiteOutbox)
    assert client.outbox.path == tmp_path / "a.db"


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        (without("META_PIXEL_ID", "META_ACCESS_TOKEN", "HUBSPOT_ACCESS_TOKEN"), "anytrack"),
        (without("HUBSPOT_ACCESS_TOKEN"), "anytrack, meta"),
        (without("META_PIXEL_ID", "META_ACCESS_TOKEN"), "anytrack, hubspot"),
        (ENV | {"ANYTRACK_OUTBOX": ""}, "anytrack, meta, hubspot"),
    ],
)
def test_a_destination_is_on_when_its_variables_are_set(environ: dict[str, str], shown: str):
    client = AnyTrackClient.from_env(environ)

    assert repr(client) == f"<AnyTrackClient: {shown}>"
    assert isinstance(client.outbox, MemoryOutbox)


@pytest.mark.parametrize(
    "missing", ["ANYTRACK_API_KEY", "ANYTRACK_ACCOUNT_ID", "META_PIXEL_ID", "META_ACCESS_TOKEN"]
)
def test_a_missing_variable_is_named(missing: str):
    with pytest.raises(ConfigurationError, match=f"^set {missing} in the environment$"):
        AnyTrackClient.from_env(without(missing))


def test_an_incomplete_oauth_app_names_the_missing_variables():
    with pytest.raises(ConfigurationError, match="HUBSPOT_CLIENT_SECRET and HUBSPOT_REFRESH_TOKEN"):
        AnyTrackClient.from_env(ENV | {"HUBSPOT_CLIENT_ID": "c1"})


def test_a_wrong_variable_is_named():
    with pytest.raises(ConfigurationError, match=r"^META_BASE_URL: base_url must be https"):
        AnyTrackClient.from_env(ENV | {"META_BASE_URL": "http://example.com"})


def test_arguments_add_to_the_environment(service: Service):
    class Extra:
        name = "extra"
        limits = service.meta().limits

        async def deliver(self, batch: Any, /) -> Any:
            return []

    outbox = MemoryOutbox()
    client = AnyTrackClient.from_env(
        ENV | {"ANYTRACK_OUTBOX": "ignored.db"},
        sinks=[Extra()],
        outbox=outbox,
        from_start=["extra"],
    )

    assert repr(client) == "<AnyTrackClient: anytrack, meta, hubspot, extra>"
    assert client.outbox is outbox


def test_from_start_accepts_only_known_destinations():
    with pytest.raises(ConfigurationError, match="from_start: no destination 'hubspto'"):
        AnyTrackClient.from_env(ENV, from_start=["hubspto"])


def test_sinks_of_the_environment():
    meta, hubspot = sinks_from_env(ENV)

    assert isinstance(meta, MetaSink)
    assert isinstance(hubspot, HubSpotSink)
    assert sinks_from_env({}) == []


@pytest.mark.parametrize("make", [SQLiteOutbox, make_outbox])
def test_a_tilde_is_the_users_home(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))

    assert make("~/a.db").path == tmp_path / "a.db"
    assert outbox_from_env({"ANYTRACK_OUTBOX": "~/a.db"}).path == tmp_path / "a.db"  # type: ignore[attr-defined]


def test_a_home_that_is_not_known_is_an_error():
    with pytest.raises(ConfigurationError, match=r"starts with ~.* write the whole path"):
        SQLiteOutbox("~nobody-has-this-name/a.db")


def test_a_file_outbox_is_not_in_memory():
    with pytest.raises(ConfigurationError, match=r"use MemoryOutbox\(\)"):
        SQLiteOutbox(":memory:")


@pytest.mark.parametrize("path", ["", " ", "a.db\n", " a.db", "a\nb.db", "a\0.db"])
def test_a_path_of_an_outbox_is_neither_blank_nor_has_a_line_break(path: str):
    with pytest.raises(ConfigurationError, match=r"the path of the outbox, .* must not be blank"):
        make_outbox(path)
    if path:  # an empty variable counts as not set
        with pytest.raises(ConfigurationError, match="must not be blank"):
            outbox_from_env({"ANYTRACK_OUTBOX": path})


@pytest.mark.asyncio
async def test_a_folder_is_no_outbox(tmp_path: Path):
    with pytest.raises(OutboxError, match="is a folder: add the name of a file"):
        await SQLiteOutbox(tmp_path).open([])
