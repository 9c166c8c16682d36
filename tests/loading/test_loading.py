"""Importing loads little; making a client loads all modules that delivering needs, and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anytrack_async.sandbox import Sandbox, running

ROOT = Path(__file__).parents[2]

OPTIONAL = (
    "aiohttp",
    "anytrack_async.codec.storage",
    "anytrack_async.destinations.anytrack.api.conversions",
    "anytrack_async.destinations.anytrack.api.base",
    "anytrack_async.client.export",
    "anytrack_async.client.export_formats",
    "anytrack_async.client.export_parquet",
    "anytrack_async.models.answers",
    "anytrack_async.outbox.sqlite.outbox",
    "anytrack_async.destinations.hubspot.settings",
    "anytrack_async.destinations.meta.settings",
    "anytrack_async.destinations.hubspot.sink",
    "anytrack_async.destinations.meta.sink",
    "cattrs",
    "httpcore",
    "sqlite3",
    "uvloop",
)

OFF_THE_LOOP = ("certifi", "importlib.resources")
"""Modules that a worker thread loads to find the CA file."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


def printed_by(*arguments: str, **environ: str) -> str:
    """Run Python with *arguments* and return its output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout


def loaded_by(code: str) -> set[str]:
    """The modules that *code* loads in a new process."""
    script = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*set(sys.modules) - before)"
    return set(printed_by("-c", script).split())


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith("anytrack_async.")}


def test_importing_the_package_loads_no_other_module_of_it() -> None:
    modules = loaded_by("import anytrack_async")

    assert ours(modules) == {"anytrack_async._version"}
    assert not modules & {"anyio", "attrs", "cattrs", "httpx"}


def test_importing_an_error_does_not_load_the_client() -> None:
    modules = loaded_by("from anytrack_async import QueueFullError")

    assert "anytrack_async.client" not in modules
    assert "httpx" not in modules


def test_a_client_loads_only_the_modules_it_needs() -> None:
    modules = loaded_by(
        "from anytrack_async import AnyTrackClient, Conversion\n"
        "AnyTrackClient('key', 'account')\n"
        "AnyTrackClient.from_env({'ANYTRACK_API_KEY': 'k', 'ANYTRACK_ACCOUNT_ID': 'a'})\n"
        "Conversion.sale(revenue=1)"
    )

    assert modules.intersection(OPTIONAL) == set()


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
@pytest.mark.parametrize("outbox", ["", "outbox.db"], ids=["memory", "sqlite"])
def test_the_first_delivery_loads_nothing(
    sandbox: Sandbox, tmp_path: Path, outbox: str, engine: str
) -> None:
    sandbox.reset()
    path = str(tmp_path / outbox) if outbox else ""
    environ = sandbox.environment() | {"ANYTRACK_OUTBOX": path, "ENGINE": engine}

    output = printed_by("-m", "tests.loading.first_delivery", **environ)

    by_entering, by_delivering = map(set, json.loads(output))
    assert not ours(by_entering)
    assert not {name for name in by_delivering if not name.startswith(OFF_THE_LOOP)}


@pytest.mark.parametrize(
    ("setting", "sink"), [("META_PIXEL_ID", "meta"), ("HUBSPOT_CLIENT_ID", "hubspot")]
)
def test_one_variable_of_a_destination_loads_its_settings(setting: str, sink: str) -> None:
    modules = loaded_by(
        "from anytrack_async.client.config import sinks_from_env\n"
        "from anytrack_async import ConfigurationError\n"
        "try:\n"
        f"    sinks_from_env({{'{setting}': 'x'}})\n"
        "except ConfigurationError:\n"
        "    print('refused')"
    )

    assert {"refused", f"anytrack_async.destinations.{sink}.settings"} <= modules


THREADS = """
import random, sys, threading
import anytrack_async

sys.setswitchinterval(1e-5)  # seconds: threads meet in the middle of a module
start, results = threading.Barrier(8), []

def import_all():
    names = random.sample(anytrack_async.__all__, len(anytrack_async.__all__))
    start.wait()
    results.append({name: getattr(anytrack_async, name) for name in names})

threads = [threading.Thread(target=import_all) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(results), all(result == results[0] for result in results))
"""


def test_threads_that_import_names_at_once_get_the_same_objects() -> None:
    assert printed_by("-c", THREADS).split() == ["8", "True"]
