"""The registry: all destinations that the client and the command line know.

A destination is a sink class with ``variables`` and ``from_env`` (see `ConfiguredSink`). Its
environment variables start with its name in capitals: ``meta`` reads ``META_…``. This is why a
destination's module need not be imported before one of its variables is set.

This package's own destinations are in `BUILT_IN`. Other packages register destinations with an
entry point in their pyproject.toml:

    [project.entry-points."anytrack_async.destinations"]
    pigeon = "anytrack_pigeon.sink:PigeonSink"
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from anytrack_async.descriptions import safe_description
from anytrack_async.destinations.sink import ConfiguredSink, Sink
from anytrack_async.errors import ConfigurationError
from anytrack_async.transport.message import Transport

ANYTRACK = "anytrack"
"""The destination that every client has; the client creates its sink itself."""

COLLECT = "anytrack-collect"
"""AnyTrack's collect endpoint; the client creates this sink itself, in place of AnyTrack's."""

ENTRY_POINT_GROUP = "anytrack_async.destinations"
"""The entry-point group in which other packages register their destinations."""

BUILT_IN = {
    ANYTRACK: "anytrack_async.destinations.anytrack.sink:AnyTrackSink",
    COLLECT: "anytrack_async.destinations.collect.sink:CollectSink",
    "meta": "anytrack_async.destinations.meta.sink:MetaSink",
    "hubspot": "anytrack_async.destinations.hubspot.sink:HubSpotSink",
    "signed-webhook": "anytrack_async.destinations.webhook.sink:WebhookSink",
}
"""Destination → ``module:class`` of its sink."""


@attrs.frozen
class Destination:
    """A registered destination; its module is imported when its sink class is first used.

    Attributes:
        name: the destination's name, as in reports and on the command line.
        location: ``module:class`` of its sink.
        distribution: the package that registered it; None for this package.
    """

    name: str
    location: str
    distribution: str | None = None

    @property
    def prefix(self) -> str:
        """The prefix of its environment variables, e.g. ``"HUBSPOT_"``."""
        return f"{self.name.upper().replace('-', '_')}_"

    def has_variables(self, environ: Mapping[str, str] | None = None) -> bool:
        """Return whether *environ* has a variable with its prefix; imports nothing."""
        return any(name.startswith(self.prefix) for name in _environment(environ))

    def sink_from_env(
        self, environ: Mapping[str, str] | None = None, transport: Transport | None = None
    ) -> Sink | None:
        """Return its sink, or None if the environment does not configure it.

        Args:
            environ: variables to use instead of the process's environment.
            transport: replaces the sink's connections, for tests.

        Raises:
            ConfigurationError: a variable is missing or wrong, or the class cannot be imported.
        """
        if not self.has_variables(environ):
            return None
        sink_class, variables = self.sink_class(), _environment(environ)
        # Another variable may begin with the prefix, such as ANYTRACK_CONSOLE_TOKEN.
        if not any(name in variables for name in sink_class.variables):
            return None
        return sink_class.from_env(environ, transport=transport)

    def sink_class(self) -> type[ConfiguredSink]:
        """Import and return its sink class.

        Raises:
            ConfigurationError: the class cannot be imported, or is not a `ConfiguredSink`; the
                message names the package that registered it.
        """
        sink_class = self._import_class()
        if not callable(getattr(sink_class, "from_env", None)) or not hasattr(
            sink_class, "variables"
        ):
            raise ConfigurationError(
                f"{self}: {self.location!r} must be a sink class with variables and from_env()"
            )
        registered: type[ConfiguredSink] = sink_class
        return registered

    def _import_class(self) -> Any:
        # Imported here, like importlib.metadata: only programs that are configured by the
        # environment need it.
        from pkgutil import resolve_name

        try:
            return resolve_name(self.location)
        except Exception as exc:  # importing runs another package's code, which may raise anything
            reason = safe_description(exc)
            if isinstance(exc, ImportError | AttributeError):
                reason = f"{type(exc).__name__}: {exc}"  # names modules and attributes only
            raise ConfigurationError(f"{self}: cannot import {self.location!r}: {reason}") from exc

    def __str__(self) -> str:
        package = f" of the package {self.distribution}" if self.distribution else ""
        return f"destination {self.name!r}{package}"


def destinations() -> Sequence[Destination]:
    """Return every registered destination, AnyTrack first; imports no destination.

    Raises:
        ConfigurationError: a package registers a name that is taken.
    """
    registered = {name: Destination(name, location) for name, location in BUILT_IN.items()}
    # Two packages with the same name could send conversions to an unexpected service, so this is an
    # error even if their variables are not set.
    for destination in _entry_points():
        other = registered.setdefault(destination.name, destination)
        if other is not destination:
            raise ConfigurationError(
                f"{destination}: the name is taken by "
                f"{other.distribution or 'anytrack_async'}; uninstall one of the two packages"
            )
    return tuple(registered.values())


def find_destination(name: str) -> Destination:
    """Return the destination called *name*.

    Raises:
        ConfigurationError: there is no such destination; the message lists the known ones.
    """
    by_name = {destination.name: destination for destination in destinations()}
    if name not in by_name:
        raise ConfigurationError(
            f"no destination {name!r}; known destinations: {', '.join(by_name)}"
        )
    return by_name[name]


def _entry_points() -> Sequence[Destination]:
    # Imported here because it loads `email`, `csv` and `zipfile`, which takes 20 ms: only programs
    # that are configured by the environment need it.
    from importlib.metadata import entry_points

    return [
        Destination(point.name, point.value, point.dist.name if point.dist else "unknown")
        for point in entry_points(group=ENTRY_POINT_GROUP)
    ]


def _environment(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    return os.environ if environ is None else environ
