import pytest
import pytest_asyncio

from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.db"


@pytest_asyncio.fixture
async def outbox(path, clock):
    outbox = SQLiteOutbox(path, clock=clock)
    await outbox.open(["alpha", "beta"])
    yield outbox
    await outbox.aclose()
