"""Real HTTP on loopback: each test gets a fresh sandbox, in one process that all share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anytrack_async import (
    AnyTrackClient,
    HubSpotSettings,
    HubSpotSink,
    MetaSettings,
    MetaSink,
)
from anytrack_async.sandbox import HubSpotPortal, Sandbox, SandboxSettings, running
from tests.end_to_end.shop import QUICK

# HubSpot's ten-second limit has tests of its own; here it would only take time.
SETTINGS = SandboxSettings(hubspot=HubSpotPortal(limit=100_000))

Connect = Callable[..., AnyTrackClient]


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    with running(SETTINGS) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    running_sandbox.reset()
    return running_sandbox


@pytest.fixture
def connect(sandbox: Sandbox) -> Connect:
    """A way to get a client with all three destinations in the sandbox."""

    def make(**options: Any) -> AnyTrackClient:
        environ = sandbox.environment()
        meta = MetaSettings.from_env(environ)
        hubspot = HubSpotSettings.from_env(environ)
        assert meta is not None
        assert hubspot is not None
        return AnyTrackClient(
            environ["ANYTRACK_API_KEY"],
            environ["ANYTRACK_ACCOUNT_ID"],
            base_url=environ["ANYTRACK_BASE_URL"],
            **{
                "sinks": [MetaSink(meta), HubSpotSink(hubspot)],
                "delivery": QUICK,
                "log": False,
                **options,
            },
        )

    return make
