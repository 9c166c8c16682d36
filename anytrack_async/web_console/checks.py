"""Checks of the destinations: credentials, permissions, and a test event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import attrs

from anytrack_async.descriptions import safe_description
from anytrack_async.destinations.registry import destinations
from anytrack_async.destinations.sink import Finding, Sink, SupportsCheck
from anytrack_async.errors import AnyTrackError, ConfigurationError
from anytrack_async.web_console.sinks import configured_sinks
from anytrack_async.web_console.source import ConsoleSource

_CHECK_WITHIN = 10.0
"""Seconds that the checks of one destination may take."""


@attrs.frozen(kw_only=True)
class Configuration:
    """A registered destination and its environment variables.

    Attributes:
        name: the destination.
        variables: variable → whether it is set; never its value.
        state: ``"configured"``, ``"not configured"``, or the problem.
    """

    name: str
    variables: Mapping[str, bool]
    state: str


async def check_all(source: ConsoleSource) -> Mapping[str, Sequence[Finding]]:
    """Check all destinations at once; return destination → findings.

    The sinks of a client are checked as they are, with the credentials that they have now. Nothing
    that counts is recorded; Meta gets a test event if a test event code is set.
    """
    findings: dict[str, Sequence[Finding]] = {}
    sinks = configured_sinks(source)

    async def check(name: str, sink: Sink) -> None:
        findings[name] = await _findings(sink)
        if source.client is None:
            await _close(sink)  # made for this check

    async with anyio.create_task_group() as tg:
        for name, sink in sinks.items():
            tg.start_soon(check, name, sink)
    return {name: findings[name] for name in sinks}


async def _findings(sink: Sink) -> Sequence[Finding]:
    if not isinstance(sink, SupportsCheck):
        return [Finding(name="check", ok=True, message="it has no check of its own")]
    try:
        with anyio.move_on_after(_CHECK_WITHIN):
            return await sink.check()
    except (AnyTrackError, OSError) as exc:
        return [Finding(name="check", ok=False, message=str(exc))]
    except Exception as exc:  # the sink may be another package's
        return [Finding(name="check", ok=False, message=safe_description(exc))]
    message = f"no complete result within {_CHECK_WITHIN:g} s: check the network and the URL"
    return [Finding(name="check", ok=False, message=message)]


async def _close(sink: Sink) -> None:
    aclose = getattr(sink, "aclose", None)
    if aclose is not None:
        await aclose()


def configurations() -> Sequence[Configuration]:
    """Return every registered destination, as the environment of this process configures it."""
    import os

    rows = []
    for destination in destinations():
        variables: Mapping[str, bool] = {}
        try:
            names = destination.sink_class().variables
            variables = {name: bool(os.environ.get(name)) for name in names}
            sink = destination.sink_from_env()
            state = "not configured" if sink is None else "configured"
        except ConfigurationError as exc:
            state = str(exc)
        rows.append(Configuration(name=destination.name, variables=variables, state=state))
    return rows
