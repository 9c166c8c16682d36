"""Networks and services that fail in many ways, with each HTTP engine."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Literal

import anyio
import attrs
import httpx

from anytrack_async import (
    AnyTrackClient,
    HttpSettings,
    HubSpotSettings,
    HubSpotSink,
    MetaSettings,
    MetaSink,
    Report,
    Status,
)
from anytrack_async.sandbox import FAULT_KINDS, Faults, Sandbox, running
from tests.chaos.audit import SANDBOX
from tests.chaos.responses import DAMAGES, damaged
from tests.chaos.trial import Trial
from tests.end_to_end.shop import QUICK, SERVICES, everything, ids, sale

CONVERSIONS = 100
ENGINES = ("plain", "aiohttp", "httpx")
_OUTAGES: dict[str, Literal["503", "reset"]] = {"down with 503": "503", "down with resets": "reset"}
FAULTS = (*FAULT_KINDS, "mixed", *_OUTAGES, *DAMAGES)

_FAULTY_SECONDS = 1.0
"""After this time all is well again: it must not need longer than `_LIMIT` then."""

_LIMIT = 60.0


async def attack(trial: Trial) -> None:
    """Track conversions with an engine while a fault goes on, and compare with the services."""
    pairs = _pairs(trial.random("order"))
    met: set[tuple[str, str]] = set()
    with running(SANDBOX) as sandbox:
        for round_ in trial.rounds():
            fault, engine = next(pairs)
            met.add((fault, engine))
            sandbox.reset()
            async with _faulty(sandbox, fault, round_.random) as (url, heal):
                reports = await _track(_client(sandbox, url, engine), heal)
            _compare(trial, f"{fault} with {engine}", reports, sandbox)
    trial.count(kinds_of_faults=len({fault for fault, _ in met}))
    trial.count(engines=len({engine for _, engine in met}))


def _pairs(random: Random) -> Iterator[tuple[str, str]]:
    """Yield each fault with each engine, in random order, again and again."""
    pairs = [*itertools.product(FAULTS, ENGINES)]
    while True:
        yield from random.sample(pairs, len(pairs))


@asynccontextmanager
async def _faulty(
    sandbox: Sandbox, fault: str, random: Random
) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """Begin a fault; yields the URL to send to, and a function that ends the fault."""
    rate = random.uniform(0.1, 0.7)
    if damage := DAMAGES.get(fault):
        async with damaged(sandbox, damage, random, rate) as (url, handler):
            yield url, lambda: setattr(handler, "rate", 0.0)
    elif outage := _OUTAGES.get(fault):
        sandbox.down(how=outage)
        yield sandbox.url, lambda: sandbox.down(down=False)
    else:
        kinds = FAULT_KINDS if fault == "mixed" else (fault,)
        sandbox.faults(
            Faults(rate=rate, kinds=kinds, seed=random.randrange(1_000_000), latency=0.1)
        )
        yield sandbox.url, lambda: sandbox.faults(Faults())


def _client(sandbox: Sandbox, url: str, engine: str) -> AnyTrackClient:
    names = sandbox.environment().items()
    environ = {name: value.replace(sandbox.url, url) for name, value in names}
    kind = "plain" if engine == "httpx" else engine
    http = HttpSettings(engine=kind, timeout=0.5)  # type: ignore[arg-type]
    # Without a proxy of the environment, which must not see local requests.
    transport = {"transport": httpx.AsyncHTTPTransport()} if engine == "httpx" else {}
    options: dict[str, Any] = {**transport}
    meta, hubspot = MetaSettings.from_env(environ), HubSpotSettings.from_env(environ)
    assert meta is not None
    assert hubspot is not None
    return AnyTrackClient(
        environ["ANYTRACK_API_KEY"],
        environ["ANYTRACK_ACCOUNT_ID"],
        base_url=environ["ANYTRACK_BASE_URL"],
        http=http,
        sinks=[
            MetaSink(attrs.evolve(meta, http=http), **options),
            HubSpotSink(attrs.evolve(hubspot, http=http), **options),
        ],
        delivery=attrs.evolve(QUICK, drain=5.0),
        log=False,
        **options,
    )


async def _track(client: AnyTrackClient, heal: Callable[[], None]) -> list[Report]:
    """Return the reports of all conversions, as far as there are any in time."""
    reports: list[Report] = []
    with anyio.move_on_after(_FAULTY_SECONDS + _LIMIT):
        async with client, anyio.create_task_group() as tasks:

            async def end_fault() -> None:
                await anyio.sleep(_FAULTY_SECONDS)
                heal()

            tasks.start_soon(end_fault)
            deliveries = await client.submit_many(map(sale, range(CONVERSIONS)))
            reports += [await delivery for delivery in deliveries]
            tasks.cancel_scope.cancel()
    return reports


def _compare(trial: Trial, fault: str, reports: list[Report], sandbox: Sandbox) -> None:
    found = {service: ids(sandbox, service).keys() for service in SERVICES}
    outcomes = [
        (report.event_id, service, outcome)
        for report in reports
        for service, outcome in report.outcomes.items()
    ]
    dead = [outcome for *_, outcome in outcomes if outcome.status is Status.DEAD]
    delivered = {
        (event_id, service)
        for event_id, service, outcome in outcomes
        if outcome.status is Status.DELIVERED
    }
    invented = {event_id for event_id, service in delivered if event_id not in found[service]}
    reported = {report.event_id for report in reports}
    trial.count(accepted=CONVERSIONS, delivered=len(delivered), dead_letters=len(dead))
    trial.count(sent_twice=sum(sandbox.ledger()[service]["duplicates"] for service in SERVICES))
    for what, event_ids in {
        "without an outcome": everything(CONVERSIONS) - reported,
        "confirmed but not there": invented,
        "dead without a reason": {str(outcome) for outcome in dead if not outcome.error},
    }.items():
        trial.count(**{what: len(event_ids)})
        if event_ids:
            trial.lose(f"{fault}: {what}", event_ids)
