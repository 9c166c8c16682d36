"""The pytest plug-in: `anytrack_client`, `anytrack_sandbox` and `assert_tracked`.

pytest loads it by itself. Its fixtures work in tests of pytest-asyncio and of anyio's plug-in.
Whatever it needs is imported by the fixtures, so that it costs nothing in other tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from anytrack_async.models.conversion import Conversion
    from anytrack_async.testing.local_sandbox import LocalSandbox
    from anytrack_async.testing.recording import RecordingClient


@pytest.fixture
def anytrack_sandbox() -> LocalSandbox:
    """AnyTrack, Meta and HubSpot in this process, new for each test."""
    from anytrack_async.testing.local_sandbox import LocalSandbox

    return LocalSandbox()


@pytest.fixture
def anytrack_client(request: pytest.FixtureRequest) -> RecordingClient:
    """An open client that sends to `anytrack_sandbox`; it is closed after the test."""
    name = "_anytrack_client_anyio" if _uses_anyio(request) else "_anytrack_client_asyncio"
    client: RecordingClient = request.getfixturevalue(name)
    return client


@pytest.fixture
def assert_tracked(anytrack_client: RecordingClient) -> Callable[..., Awaitable[Conversion]]:
    """`testing.recording.assert_tracked` for `anytrack_client`; to be awaited."""
    from functools import partial

    from anytrack_async.testing.recording import assert_tracked

    return partial(assert_tracked, anytrack_client)


def _uses_anyio(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("anyio") is not None


async def _open_client(anytrack_sandbox: LocalSandbox) -> AsyncIterator[RecordingClient]:
    from anytrack_async.testing.recording import RecordingClient

    client = RecordingClient(sandbox=anytrack_sandbox)
    await client.start()
    yield client
    await client.aclose()


# Both plug-ins refuse, or do not notice, the other one's asynchronous fixtures.

_anytrack_client_anyio: Any = pytest.fixture(name="_anytrack_client_anyio")(_open_client)

try:
    import pytest_asyncio
except ImportError:
    pass
else:
    _anytrack_client_asyncio: Any = pytest_asyncio.fixture(name="_anytrack_client_asyncio")(
        _open_client
    )
