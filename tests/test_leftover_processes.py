"""The processes of a failed test end with it."""

import signal
import subprocess
import sys

import pytest

from tests.leftover_processes import ended_on_failure

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


def test_a_failed_test_leaves_no_python_process_behind():
    started = []
    with subprocess.Popen(SLEEP) as earlier:
        with pytest.raises(LookupError), ended_on_failure():
            started += [subprocess.Popen(SLEEP), subprocess.Popen(["/bin/sleep", "60"])]
            raise LookupError
        worker, server = started

        assert worker.wait(10) == -signal.SIGKILL
        assert earlier.poll() is None
        assert server.poll() is None
        server.kill()
        earlier.kill()
    server.wait(10)
