"""The worker programs in `docs/examples` run, and what they track arrives."""

from __future__ import annotations

import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from anytrack_async.sandbox import Sandbox, running

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
IDS = {f"sale:{number}": 1 for number in range(6)}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def worker_environment(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    sandbox.reset()
    variables = {**sandbox.environment(), "ANYTRACK_OUTBOX": str(tmp_path / "outbox.db")}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{EXAMPLES}"}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where annotations look for names
    spec.loader.exec_module(module)
    return module


@pytest.mark.asyncio
@pytest.mark.usefixtures("worker_environment")
async def test_taskiq(sandbox: Sandbox):
    example = load("taskiq_worker")
    example.broker.is_worker_process = True
    await example.broker.startup()
    tasks = [await example.track_order.kiq(str(number), "5") for number in range(6)]
    for task in tasks:
        assert not (await task.wait_result(timeout=30)).is_err
    await example.broker.shutdown()

    assert sandbox.ledger(ids=True)["anytrack"]["ids"] == IDS


@pytest.mark.asyncio
@pytest.mark.usefixtures("worker_environment")
async def test_procrastinate(sandbox: Sandbox):
    example = load("procrastinate_worker")
    async with example.app.open_async():
        for number in range(6):
            await example.track_order.defer_async(order_id=str(number), total="5")
    await example.work(wait=False)

    assert sandbox.ledger(ids=True)["anytrack"]["ids"] == IDS


@pytest.mark.asyncio
@pytest.mark.usefixtures("worker_environment")
async def test_saq(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")  # connects when it is first used
    settings = load("saq_worker").settings()
    context: dict[str, object] = {}
    await settings["startup"](context)
    (track_order,) = settings["functions"]
    for number in range(6):
        await track_order(context, order_id=str(number), total="5")
    await settings["shutdown"](context)

    assert sandbox.ledger(ids=True)["anytrack"]["ids"] == IDS


def test_celery(sandbox: Sandbox, worker_environment: dict[str, str], tmp_path: Path):
    """A prefork worker: a broker in files, two processes, ended by SIGTERM with orders waiting."""
    config = tmp_path / "celeryconfig.py"
    config.write_text(
        "broker_url = 'filesystem://'\n"
        f"broker_transport_options = {{'data_folder_in': {str(tmp_path)!r}, "
        f"'data_folder_out': {str(tmp_path)!r}, 'control_folder': {str(tmp_path)!r}}}\n",
        encoding="utf-8",
    )
    environment = {**worker_environment, "CELERY_CONFIG_MODULE": "celeryconfig"}
    environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    environment["CELERY_BROKER_URL"] = "filesystem://"
    enqueue = (
        "import celery_worker as w; w.app.config_from_object('celeryconfig');"
        "[w.track_order.delay(str(number), '5') for number in range(6)]"
    )
    subprocess.run(
        [sys.executable, "-c", enqueue], env=environment, cwd=tmp_path, check=True, timeout=60
    )
    sandbox.down("anytrack")
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER], env=environment, cwd=tmp_path, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while accepted(tmp_path / "outbox.db") < 6 and time.monotonic() < deadline:
        assert worker.poll() is None, worker.stderr and worker.stderr.read().decode()
        time.sleep(0.05)
    worker.send_signal(signal.SIGTERM)
    while len([*tmp_path.glob("closing-*")]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sandbox.ledger()["anytrack"]["unique"] == 0
    sandbox.down("anytrack", down=False)  # both processes of the worker close their clients
    _, errors = worker.communicate(timeout=60)

    assert sandbox.ledger(ids=True)["anytrack"]["ids"] == IDS
    assert worker.returncode == 0
    assert b"Traceback" not in errors


def accepted(path: Path) -> int:
    """Return how many conversions an outbox file has accepted."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            count: int = connection.execute("SELECT count(*) FROM ids").fetchone()[0]
            return count
    except sqlite3.OperationalError:  # the worker has not made it yet
        return 0


WORKER = """
import os, pathlib
from celery.signals import worker_process_shutdown

@worker_process_shutdown.connect(weak=False)
def note(**_):  # before the example's own
    pathlib.Path(f"closing-{os.getpid()}").touch()

import celery_worker as worker
worker.app.config_from_object("celeryconfig")
worker.app.worker_main(["worker", "--concurrency=2", "--loglevel=warning", "--without-gossip",
                        "--without-mingle", "--without-heartbeat"])
"""
