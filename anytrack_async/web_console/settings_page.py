"""Settings and checks: destinations, limits, credentials, versions, the outbox's size, pauses.

The checks test credentials and permissions, and can send a test event.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import anyio
import attrs
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from anytrack_async._version import __version__
from anytrack_async.descriptions import safe_description
from anytrack_async.destinations.registry import destinations
from anytrack_async.destinations.sink import Finding, Sink, SupportsCheck
from anytrack_async.errors import AnyTrackError, ConfigurationError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.outbox.base import Outbox
from anytrack_async.web_console.pages import Context, conversion_address, log_action
from anytrack_async.web_console.security import Refused, read_form
from anytrack_async.web_console.sinks import configured_sinks
from anytrack_async.web_console.source import ConsoleSource

_LIBRARIES = ("httpx", "anyio", "attrs", "orjson", "starlette", "aiohttp", "uvloop", "asyncpg")

_TEST_EVENT = "console-test"
_TEST_ADDRESS = "console-test@example.com"


async def settings(context: Context, request: Request) -> Response:
    """Return the page."""
    return await _page(context, request)


async def _page(context: Context, request: Request, **values: Any) -> Response:
    outbox, client = await context.source.outbox(), context.source.client
    return await context.page(
        request,
        "settings.html",
        depths=await outbox.depths(),
        lanes=await context.source.lanes(),
        pauses=await context.source.pauses(),
        limits=client.limits if client else {},
        has_client=client is not None,
        configurations=() if client else configurations(),
        outbox=await _outbox_rows(outbox),
        versions=_versions(),
        **{"findings": None} | values,
    )


async def check(context: Context, request: Request) -> Response:
    """Check all destinations; the page has the findings.

    It asks the services, with this process's credentials. So it is posted, and for admins only.
    """
    name = await context.check_admin(request)
    findings = await check_all(context.source)
    log_action(name, "checked", len(findings), "destinations")
    return await _page(context, request, findings=findings)


async def pause(context: Context, request: Request) -> Response:
    """Send a destination nothing until it is resumed, from no process on the outbox."""
    name, destination, fields = await _destination(context, request)
    await context.source.pause(destination, name, fields.get("reason", "").strip())
    log_action(name, "paused", 1, "destinations", destination=destination)
    return RedirectResponse("settings?done=paused", status_code=303)


async def resume(context: Context, request: Request) -> Response:
    """End a pause, and let a lane of this client try again at once."""
    name, destination, _ = await _destination(context, request)
    await context.source.resume(destination)
    log_action(name, "resumed", 1, "destinations", destination=destination)
    return RedirectResponse("settings?done=resumed", status_code=303)


async def _destination(context: Context, request: Request) -> tuple[str, str, Mapping[str, str]]:
    """Return the admin's name, the destination, and all fields of the form."""
    name = await context.check_admin(request)
    fields = await read_form(request)
    destination = fields.get("destination", "")
    if destination not in await (await context.source.outbox()).destinations():
        raise Refused(400, "Nothing was changed: the outbox has no such destination.")
    return name, destination, fields


async def send_test(context: Context, request: Request) -> Response:
    """Submit a conversion of 0.00 to one destination; the page of the conversion follows it."""
    name, destination, _ = await _destination(context, request)
    client = context.source.client
    if client is None or destination not in client.sinks:
        raise Refused(400, "Nothing was sent: a test needs a client with this destination.")
    conversion = Conversion.custom(
        event_name=_TEST_EVENT,
        click_id=_TEST_EVENT,
        source="console",
        revenue="0",
        customer=Customer(email=_TEST_ADDRESS),  # or Meta would refuse it
    )
    await client.submit(conversion, to=[destination])
    log_action(name, "submitted", 1, "test conversions", destination=destination)
    return RedirectResponse(conversion_address(conversion.event_id), status_code=303)


# Rows


async def _outbox_rows(outbox: Outbox) -> Mapping[str, Any]:
    rows: dict[str, Any] = {
        "Kind": type(outbox).__name__,
        "Survives a restart": "yes" if outbox.durable else "no",
        "Shared by processes": "yes" if outbox.shared else "no",
        "Capacity for each destination": outbox.capacity,
    }
    path = getattr(outbox, "path", None)
    if path is not None:
        rows["File"] = Path(path).name
        rows.update(await anyio.to_thread.run_sync(_file_sizes, Path(path)))
    return rows


def _file_sizes(path: Path) -> Mapping[str, float]:
    """Return the sizes of the outbox file and of its write-ahead log, and the room on the disk."""
    import shutil

    sizes = {"Size of the file": path.stat().st_size, "Room on the disk": 0}
    sizes["Room on the disk"] = shutil.disk_usage(path.parent).free
    log = path.with_name(f"{path.name}-wal")
    if log.exists():
        sizes["Size of its write-ahead log"] = log.stat().st_size
    return sizes


@cache
def _versions() -> Mapping[str, str]:
    versions = {"anytrack_async": __version__, "Python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


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
