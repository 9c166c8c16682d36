"""A sandbox in a process of its own, for the clients that Meta and HubSpot wrote themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from anytrack_async.sandbox import (
    HubSpotPortal,
    MetaPixel,
    Sandbox,
    SandboxSettings,
    running,
)

SETTINGS = SandboxSettings(
    # Requests need the proof of the app's secret, and HubSpot's limit has a sandbox of its own.
    meta=MetaPixel(app_secret="app-secret"),
    hubspot=HubSpotPortal(limit=100_000),
)
NARROW = SandboxSettings(
    hubspot=HubSpotPortal(limit=2, interval=600, scopes=("crm.objects.deals.read",))
)


@pytest.fixture(scope="session")
def process() -> Iterator[Sandbox]:
    with running(SETTINGS) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(process: Sandbox) -> Sandbox:
    """A fresh sandbox."""
    process.reset()
    return process


@pytest.fixture(scope="session")
def narrow_process() -> Iterator[Sandbox]:
    with running(NARROW) as sandbox:
        yield sandbox


@pytest.fixture
def narrow(narrow_process: Sandbox) -> Sandbox:
    """A fresh portal that lets a token read deals, twice."""
    narrow_process.reset()
    return narrow_process
