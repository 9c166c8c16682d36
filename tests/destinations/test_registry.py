"""A destination is one class and one line; everything that lists destinations asks the registry."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest
from typer.testing import CliRunner

from anytrack_async import (
    AnyTrackClient,
    ConfigurationError,
    Conversion,
    DeliverySettings,
    HubSpotSink,
    MetaSink,
    Outcome,
    SinkLimits,
)
from anytrack_async.cli.app import app
from anytrack_async.destinations import registry
from anytrack_async.destinations.registry import destinations, find_destination
from anytrack_async.destinations.sink import Finding, SetupStep, SupportsCheck, SupportsSetup

HERE = __name__
ENV = {"ANYTRACK_API_KEY": "k", "ANYTRACK_ACCOUNT_ID": "a", "PIGEON_LOFT": "north"}


class PigeonSink:
    """A destination for tests: variables, `from_env`, and what every sink has."""

    variables = ("PIGEON_LOFT",)
    name = "pigeon"
    limits = SinkLimits()

    def __init__(self, loft: str) -> None:
        self.loft = loft

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, transport: Any = None
    ) -> PigeonSink | None:
        loft = ({"PIGEON_LOFT": "home"} if environ is None else environ).get("PIGEON_LOFT")
        return cls(loft) if loft else None

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        return [Outcome.delivered(f"{self.loft}-{item.event_id}") for item in batch]

    async def check(self, *, currencies: Iterable[str] = ()) -> Sequence[Finding]:
        return [Finding(name="loft", ok=True, message=f"{self.loft} is open")]


LOCATION = f"{HERE}:PigeonSink"


def point(name: str = "pigeon", value: str = LOCATION, package: str | None = "anytrack-pigeon"):
    """An entry point as an installed *package* declares it."""
    return SimpleNamespace(
        name=name, value=value, dist=package and SimpleNamespace(name=package, version="1.0")
    )


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The entry points of the group; a test appends to them."""
    points: list[Any] = []

    def entry_points(*, group: str) -> list[Any]:
        assert group == "anytrack_async.destinations"
        return points

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    return points


@pytest.fixture(params=["a line in the registry", "an entry point"])
def pigeon(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    entry_points: list[Any],
) -> None:
    """Register the pigeon in one of the two ways."""
    monkeypatch.setenv("PIGEON_LOFT", "north")
    if request.param == "an entry point":
        entry_points.append(point())
    else:
        monkeypatch.setitem(registry.BUILT_IN, "pigeon", LOCATION)


def anytrack(_: httpx.Request) -> httpx.Response:
    return httpx.Response(201, json={"status": "success", "conversion_id": "c1"})


# One class and one line


@pytest.mark.usefixtures("pigeon")
def test_a_client_from_the_environment_delivers_to_it_and_counts_it() -> None:
    async def track() -> None:
        client = AnyTrackClient.from_env(
            ENV, transport=httpx.MockTransport(anytrack), delivery=DeliverySettings(drain=5)
        )
        async with client:
            delivery = await client.submit(Conversion.lead(order_id="1"))
            assert (await delivery.at("pigeon")).remote_id == "north-lead:1"
            assert (await client.stats()).destinations["pigeon"].delivered == 1

    anyio.run(track)


@pytest.mark.usefixtures("pigeon")
def test_the_command_line_lists_it() -> None:
    ran = CliRunner().invoke(app, ["destinations"])

    (row,) = (line for line in ran.stdout.splitlines() if line.startswith("pigeon"))
    assert row.split() == ["pigeon", "configured", "PIGEON_LOFT"]


@pytest.mark.usefixtures("pigeon")
def test_the_command_line_checks_it() -> None:
    ran = CliRunner().invoke(app, ["check", "pigeon"])

    assert (ran.exit_code, ran.stdout) == (0, "ok   pigeon: loft: home is open\n")


@pytest.mark.usefixtures("pigeon")
def test_without_its_variable_it_is_off() -> None:
    environ = {name: value for name, value in ENV.items() if name != "PIGEON_LOFT"}

    assert repr(AnyTrackClient.from_env(environ)) == "<AnyTrackClient: anytrack>"


class RavenSink(PigeonSink):
    """A destination without a check of its own."""

    variables = ("RAVEN_TOWER",)
    check = None  # type: ignore[assignment]

    @classmethod
    def from_env(cls, environ: Any = None, *, transport: Any = None) -> RavenSink:
        return cls("tower")


def test_a_destination_without_a_check_is_checked_for_complete_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAVEN_TOWER", "white")
    monkeypatch.setitem(registry.BUILT_IN, "raven", f"{HERE}:RavenSink")

    ran = CliRunner().invoke(app, ["check", "raven"])

    assert ran.exit_code == 0
    assert ran.stdout == "ok   raven: settings: complete; nothing else to check\n"


# Built-in destinations


def test_the_built_in_destinations_are_listed_with_anytrack_first(entry_points: list[Any]) -> None:
    assert [destination.name for destination in destinations()] == [
        "anytrack",
        "anytrack-collect",
        "meta",
        "hubspot",
        "signed-webhook",
    ]


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_variables_start_with_the_destinations_name(name: str) -> None:
    destination = find_destination(name)

    variables = destination.sink_class().variables
    assert variables
    assert all(variable.startswith(destination.prefix) for variable in variables)


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_every_built_in_destination_can_be_checked(name: str) -> None:
    assert issubclass(find_destination(name).sink_class(), SupportsCheck)


def test_hubspot_can_be_set_up() -> None:
    assert issubclass(HubSpotSink, SupportsSetup)
    assert not issubclass(MetaSink, SupportsSetup)


def test_an_unknown_destination_is_reported_with_the_known_ones(entry_points: list[Any]) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"^no destination 'pidgin'; known destinations: anytrack, anytrack-collect, meta, ",
    ):
        find_destination("pidgin")


def test_a_setup_step_reads_as_a_sentence() -> None:
    step = SetupStep(action="refused", kind="property", name="x", reason="it is a number")

    assert str(step) == "refused property x: it is a number"


# Other packages


def test_a_dash_in_a_name_is_an_underscore_in_its_variables() -> None:
    assert registry.Destination("carrier-pigeon", LOCATION).prefix == "CARRIER_PIGEON_"


def test_a_class_that_cannot_be_imported_is_reported_with_its_package(
    entry_points: list[Any],
) -> None:
    entry_points.append(point(value="no_such_module:PigeonSink"))

    with pytest.raises(ConfigurationError) as caught:
        AnyTrackClient.from_env(ENV)

    assert str(caught.value) == (
        "destination 'pigeon' of the package anytrack-pigeon: cannot import "
        "'no_such_module:PigeonSink': ModuleNotFoundError: No module named 'no_such_module'"
    )


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (f"{HERE}:NoSink", "AttributeError: module"),
        ("not a location", "ValueError in"),
        (f"{HERE}:Explosive.sink", "RuntimeError in"),
    ],
)
def test_a_wrong_location_is_reported_with_its_package(
    location: str, reason: str, entry_points: list[Any]
) -> None:
    entry_points.append(point(value=location))

    with pytest.raises(ConfigurationError, match="of the package anytrack-pigeon") as caught:
        AnyTrackClient.from_env(ENV)

    assert f"cannot import {location!r}: {reason}" in str(caught.value)
    assert "s3cret" not in str(caught.value)


class _Explosive:
    @property
    def sink(self) -> object:
        raise RuntimeError("s3cret")


Explosive = _Explosive()


@pytest.mark.parametrize("location", [f"{HERE}:point", f"{HERE}:Lame"])
def test_an_object_that_is_not_a_sink_class_is_reported_with_its_package(
    location: str, entry_points: list[Any]
) -> None:
    entry_points.append(point(value=location))

    with pytest.raises(ConfigurationError) as caught:
        AnyTrackClient.from_env(ENV)

    assert str(caught.value) == (
        f"destination 'pigeon' of the package anytrack-pigeon: {location!r} must be a sink class "
        "with variables and from_env()"
    )


class Lame:
    """Has `from_env`, but does not say what it reads."""

    @classmethod
    def from_env(cls, environ: object = None, *, transport: object = None) -> None: ...


def test_a_broken_package_matters_only_when_its_variables_are_set(
    entry_points: list[Any],
) -> None:
    entry_points.append(point(name="raven", value="no_such_module:RavenSink"))

    assert repr(AnyTrackClient.from_env(ENV)) == "<AnyTrackClient: anytrack>"
    ran = CliRunner().invoke(app, ["destinations"])
    assert ran.exit_code == 0
    assert "of the package anytrack-pigeon: cannot import" in ran.stdout


@pytest.mark.parametrize("name", ["meta", "pigeon"])
def test_a_name_that_is_taken_is_reported_with_both_packages(
    name: str, entry_points: list[Any]
) -> None:
    entry_points += [point(package="first"), point(name=name, package="second")]
    owner = "anytrack_async" if name == "meta" else "first"

    with pytest.raises(ConfigurationError) as caught:
        destinations()

    assert str(caught.value) == (
        f"destination {name!r} of the package second: the name is taken by {owner}; "
        "uninstall one of the two packages"
    )


def test_an_entry_point_without_a_package_is_reported(entry_points: list[Any]) -> None:
    entry_points.append(point(value="no_such_module:PigeonSink", package=None))

    with pytest.raises(ConfigurationError, match="of the package unknown: cannot import"):
        AnyTrackClient.from_env(ENV)


def test_importing_the_registry_loads_no_destination_and_no_metadata() -> None:
    code = "import sys, anytrack_async.destinations.registry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert "importlib.metadata" not in loaded
    assert not [name for name in loaded if name.startswith("anytrack_async.destinations.meta")]
