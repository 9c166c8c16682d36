"""What holds for all tests: their order, how many examples they try, and what coverage follows.

Coverage makes the code that it follows three times slower. Tests with thousands of similar
conversions run the same lines again and again, so they run without: each property test, and each
test with the marker `untraced`. The lines have to be covered by tests with plain examples.
"""

from __future__ import annotations

import importlib
import pkgutil
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

import anytrack_async
from anytrack_async.outbox.sqlite.write_ahead_log import log_once, wal_reset_warning
from tests.examples import examples
from tests.leftover_processes import ended_on_failure
from tests.order import long_tests_first
from tests.servers.fixtures import *  # noqa: F403 (fixtures)
from tests.servers.fixtures import leave_out_uncovered, say_what_was_not_run

# How fast examples come depends on the machine and on coverage, and neither is what is tested.
settings.register_profile(
    "steady",
    deadline=None,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Measure the coverage of what can run on this machine; let processes end by Ctrl-C."""
    leave_out_uncovered(session.config)
    # A shell's background job ignores SIGINT, and so would each process that a test starts. None
    # inherits a handler, though: it has the system's default then.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A process logs it once. Tests that count what is logged shall not depend on their order.
    log_once(wal_reset_warning() or "")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let every worker of pytest-xdist start with long tests."""
    if workers := getattr(config, "workerinput", {}).get("workercount"):
        items[:] = long_tests_first(items, workers)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests had no server."""
    say_what_was_not_run(terminalreporter)


@contextmanager
def untraced() -> Iterator[None]:
    """Let coverage rest in this thread; threads that a test starts are still followed."""
    tracer = sys.gettrace()
    if tracer is None or not type(tracer).__module__.startswith("coverage"):  # a debugger
        yield
        return
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, Any, Any]:
    """Collect without coverage, after every line that an import runs has been counted."""
    if sys.gettrace() is not None:
        for module in pkgutil.walk_packages(anytrack_async.__path__, "anytrack_async."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    with untraced():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Run a test, without coverage if it repeats itself; if it fails, end its processes."""
    is_repeated = is_hypothesis_test(getattr(item, "obj", None))
    with ended_on_failure():
        if is_repeated or item.get_closest_marker("untraced"):
            with untraced():
                return (yield)
        return (yield)
