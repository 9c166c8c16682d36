"""No response takes the process down: memory, event loop and connection, with every engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from tests.transport.hostile_server import NEEDS_FILTER, RESPONSES, hostile_server

ENGINES = ("plain", "aiohttp", "httpx")
HOSTILE = [
    (engine, name)
    for engine in ENGINES
    for name in RESPONSES
    if name != "normal" and not (engine == "httpx" and name in NEEDS_FILTER)
]
LARGEST_GROWTH = 16 * 1_048_576  # bytes, of which the largest body that is read takes 8 MiB
LONGEST_TURN = 0.05  # seconds


@cache
def results(engine: str) -> dict[str, dict[str, Any]]:
    """Return what each response costs a process that reads it with *engine*."""
    with hostile_server() as url:
        command = [sys.executable, "-m", "tests.transport.hostile_client", url, engine]
        # Coverage would be most of what is measured.
        env = {name: value for name, value in os.environ.items() if "COVERAGE_" not in name}
        process = subprocess.run(command, env=env, capture_output=True, check=True, timeout=120)
    return json.loads(process.stdout)


@pytest.mark.parametrize(("engine", "name"), HOSTILE)
def test_a_response_without_end_is_cut_off(engine: str, name: str):
    error, setting = results(engine)[name]["error"], RESPONSES[name][0]

    if engine == "httpx" and setting in ("max_head", "max_headers"):  # which httpx limits by itself
        assert error.startswith("TransportError: anytrack: the connection broke off")
    else:
        assert error.startswith("ResponseLimitError: anytrack: the response ")
        assert f"ResponseLimits({setting}=…)" in error


@pytest.mark.parametrize("engine", ENGINES)
def test_all_of_them_together_take_little_memory(engine: str):
    assert sum(result["memory"] for result in results(engine).values()) <= LARGEST_GROWTH


@pytest.mark.parametrize(("engine", "name"), HOSTILE)
def test_none_of_them_occupies_the_event_loop(engine: str, name: str):
    assert results(engine)[name]["turn"] <= LONGEST_TURN
