"""One sandbox for all tests of a module, and a way to run the command line against it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from typer.testing import CliRunner

from anytrack_async.cli.app import app
from anytrack_async.destinations.registry import destinations
from anytrack_async.sandbox import Sandbox, in_thread
from tests.cli.letters import fill

VARIABLES = (
    *("ANYTRACK_OUTBOX", "ANYTRACK_OUTBOX_KEYS", "ANYTRACK_OUTBOX_SCHEMA"),
    *("ANYTRACK_OUTBOX_LISTEN", "FORCE_COLOR", "GITHUB_ACTIONS", "COLUMNS"),
    *(name for entry in destinations() for name in entry.sink_class().variables),
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    with in_thread() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox, monkeypatch) -> Sandbox:
    """Empty stand-ins, with the environment variables set to use them."""
    shared_sandbox.reset()
    for name, value in shared_sandbox.environment().items():
        monkeypatch.setenv(name, value)
    return shared_sandbox


@pytest.fixture
def outbox_path(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "outbox.db"
    monkeypatch.setenv("ANYTRACK_OUTBOX", str(path))
    return path


def wait_for(condition) -> None:
    """Wait until *condition* holds, for half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class CommandResult:
    """The result of a command: exit code and output, without wrapped lines."""

    def __init__(self, result) -> None:
        self.code = result.exit_code
        self.out = result.stdout
        self.err = result.stderr
        self.exception = result.exception


@pytest.fixture
def run() -> Callable[..., CommandResult]:
    def invoke(*args: str, text: str | None = None) -> CommandResult:
        return CommandResult(CliRunner().invoke(app, [str(arg) for arg in args], input=text))

    return invoke


class Child:
    """`anytrack` in a process of its own."""

    def __init__(self, *args: str | Path, stdin: Path | None = None) -> None:
        source = None if stdin is None else stdin.open("rb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "anytrack_async.cli", *map(str, args)],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # What these are for is covered in this process; tracing would make them slow.
            env={name: text for name, text in os.environ.items() if "COVERAGE" not in name},
        )
        if source is not None:
            source.close()

    def line_with(self, words: str) -> str:
        for line in self.process.stdout:
            if words in line:
                return line
        raise AssertionError(f"no line with {words!r}; {self.process.stderr.read()}")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(*args: str | Path, **options: Any) -> Child:
        children.append(Child(*args, **options))
        return children[-1]

    yield start
    for started in children:
        if started.process.poll() is None:
            started.process.kill()
            started.process.communicate()
        for stream in (started.process.stdout, started.process.stderr):
            stream.close()


@pytest.fixture
def filled(outbox_path):
    anyio.run(fill, outbox_path)
    return outbox_path
