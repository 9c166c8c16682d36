"""A sandbox in its own process, for the clients that Meta and HubSpot publish."""

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
    # Meta's requests need an appsecret_proof. HubSpot's limit is tested with NARROW instead.
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
    """A fresh portal whose token may read deals, and takes two requests."""
    narrow_process.reset()
    return narrow_process
