"""`AnyTrack`: the client's methods for code without an event loop, from many threads."""

from __future__ import annotations

import inspect
import math
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from anytrack_async import (
    AnyTrack,
    AnyTrackClient,
    ClosedError,
    Conversion,
    InvalidArgumentError,
    InvalidConversionError,
    UndeliveredError,
    WrongEventLoopError,
)
from anytrack_async.sandbox import in_thread
from tests.client.service import Service

ROOT = Path(__file__).parents[2]
OWN = {"aclose": "close"}
"""Name of the asynchronous client → its other name here."""
ENDPOINTS = {
    *("affiliates", "attribution", "conversions", "limits", "outbox", "reports", "sinks"),
    "subscribe",
}
"""Attributes that are used through `AnyTrack.client`."""


def lead(number: int = 1) -> Conversion:
    return Conversion.lead(click_id="c", event_id=f"lead:{number}")


@pytest.fixture
def service() -> Service:
    return Service()


def _without_type(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(annotation=inspect.Parameter.empty)


def test_it_has_every_method_of_the_client_with_the_same_arguments():
    for name, method in inspect.getmembers(AnyTrackClient):
        if name.startswith("_") or name in ENDPOINTS:
            continue
        own = getattr(AnyTrack, OWN.get(name, name))
        if name in ("start", "aclose", "from_env", "is_open", "submit", "submit_many", "delivery"):
            continue
        # The body passes everything on; mypy compares the types of the arguments.
        assert own.__doc__ == method.__doc__
        assert [*inspect.signature(own).parameters] == ["self", "args", "kwargs"]
    for name in ("submit", "submit_many", "delivery"):
        own, method = (inspect.signature(getattr(cls, name)) for cls in (AnyTrack, AnyTrackClient))
        # Not their types: each takes the transactions of its own world.
        assert [*map(_without_type, own.parameters.values())] == [
            *map(_without_type, method.parameters.values())
        ]


def test_it_tracks_waits_and_reads(service: Service):
    record = {"id": "x", "conversion_type": "lead", "timestamp": "2026-01-02T03:04:05"}
    service.answer("/v1/conversions/x", {"data": record})
    with AnyTrack(client=service.client()) as anytrack:
        delivery = anytrack.submit(lead(1))
        assert delivery.result(30).delivered
        assert delivery.at("anytrack").remote_id == "at-lead:1"
        assert anytrack.track_lead("c", event_id="lead:2").conversion_id == "at-lead:2"
        first, second = anytrack.submit_many([lead(3), lead(4)])
        assert (first.event_id, second.result().delivered) == ("lead:3", True)
        assert anytrack.get_conversion_details("x").id == "x"
        assert anytrack.stats().submitted == 4
        anytrack.use_token("anytrack", "new")
        with pytest.raises(InvalidConversionError):
            anytrack.track_sale("c", "much")

    assert {request.headers["authorization"] for request in service.requests} == {
        "Bearer anytrack-s3cret"
    }
    assert delivery.contradicts is None
    assert repr(delivery) == "<SyncDelivery of 'lead:1'>"


def test_generators_become_iterators(service: Service):
    with AnyTrack(client=service.client()) as anytrack:
        reports = [*anytrack.track_many(lead(number) for number in range(5))]
        assert sorted(report.event_id for report in reports) == [f"lead:{n}" for n in range(5)]
        assert [*anytrack.dead_letters()] == []
        endless = anytrack.track_many(lead(number) for number in range(10, 10_000))
        next(endless)
        endless.close()  # type: ignore[attr-defined]


def test_a_delivery_that_takes_too_long_is_a_timeout(service: Service):
    service.gate = anyio.Event()
    anytrack = AnyTrack(client=service.client())
    anytrack.start()
    delivery = anytrack.submit(lead())
    with pytest.raises(TimeoutError):
        delivery.result(0.01)
    with pytest.raises(TimeoutError):
        delivery.at("anytrack", 0.01)
    with pytest.raises(InvalidArgumentError, match="timeout must be a number of seconds"):
        delivery.result(math.nan)
    anytrack.limit_drain(0)
    with pytest.raises(UndeliveredError):
        anytrack.close()


def test_many_threads_share_one_object(service: Service):
    with AnyTrack(client=service.client()) as anytrack, ThreadPoolExecutor(16) as pool:
        deliveries = [*pool.map(lambda number: anytrack.submit(lead(number)), range(200))]
        assert all(delivery.result(60).delivered for delivery in deliveries)

    assert len(service.bodies()) == 200


def test_starting_and_closing_again_changes_nothing(service: Service):
    anytrack = AnyTrack(client=service.client())
    anytrack.close()
    with pytest.raises(ClosedError, match=r"anytrack\.start\(\)"):
        anytrack.submit(lead())
    for _ in range(2):
        for _ in range(2):
            anytrack.start()
        assert anytrack.is_open
        anytrack.track_lead("c")
        for _ in range(2):
            anytrack.close()
        assert not anytrack.is_open

    assert not [thread for thread in threading.enumerate() if thread.name == "anytrack"]


def test_an_outbox_that_cannot_be_opened_leaves_no_thread(service: Service, tmp_path: Path):
    from anytrack_async import OutboxError

    anytrack = AnyTrack(client=service.client(outbox=tmp_path))
    with pytest.raises(OutboxError):
        anytrack.start()

    assert not [thread for thread in threading.enumerate() if thread.name == "anytrack"]


def test_an_exception_in_the_block_is_raised_and_not_what_closing_says(service: Service):
    service.refuse(401)
    with pytest.raises(ZeroDivisionError), AnyTrack(client=service.client()) as anytrack:
        anytrack.limit_drain(0)
        anytrack.submit(lead())
        raise ZeroDivisionError


def test_deliveries_of_a_list_can_be_sliced(service: Service):
    with AnyTrack(client=service.client()) as anytrack:
        deliveries = anytrack.submit_many([lead(number) for number in range(5)])
        assert len(deliveries) == 5
        assert [delivery.event_id for delivery in deliveries[1:3]] == ["lead:1", "lead:2"]
        assert repr(anytrack) == "<AnyTrack: anytrack>"


def test_calls_in_its_own_event_loop_are_refused(service: Service):
    with AnyTrack(client=service.client()) as anytrack:

        async def in_loop() -> str:
            with pytest.raises(WrongEventLoopError, match=r"anytrack\.client"):
                anytrack.submit(lead())
            return "refused"

        assert anytrack.run(in_loop) == "refused"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_is_told_which_hook_to_use(service: Service):
    with AnyTrack(client=service.client()) as anytrack:
        read, write = os.pipe()
        if os.fork() == 0:
            try:
                anytrack.close()  # does nothing
                anytrack.submit(lead())
            except ClosedError as exc:
                os.write(write, str(exc).encode())
            finally:
                os._exit(0)
        os.wait()
        os.close(write)
        message = os.read(read, 1_000).decode()
        os.close(read)
        anytrack.track_lead("c")  # undisturbed

    assert "before this process was forked" in message
    assert "worker_process_init" in message


FORGETFUL = """
import sys
from anytrack_async import AnyTrack, Conversion
anytrack = AnyTrack.from_env()
anytrack.start()
anytrack.submit(Conversion.lead(click_id="c", event_id="lead:1"))
"""


@pytest.mark.skipif(
    (3, 12, 0) <= sys.version_info < (3, 12, 2), reason="starts no threads while it ends"
)
def test_a_process_that_does_not_close_it_delivers_and_ends():
    with in_thread() as sandbox:
        result = subprocess.run(
            [sys.executable, "-c", FORGETFUL],
            cwd=ROOT,
            env={**os.environ, **sandbox.environment()},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        assert sandbox.ledger(ids=True)["anytrack"]["ids"] == {"lead:1": 1}
