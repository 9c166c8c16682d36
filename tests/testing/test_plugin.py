"""The pytest plug-in: the tests on the page about testing pass, and fail where they should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python test\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PLUGINS = ("-p", "pytest_asyncio.plugin", "-p", "anyio.pytest_plugin")
PLUGIN = "anytrack_async.testing.plugin"

FAILING = """
import pytest
from anytrack_async import Conversion

pytestmark = pytest.mark.asyncio

async def test_nothing(assert_tracked):
    await assert_tracked(order_id="1")

async def test_twice(anytrack_client, assert_tracked):
    for order in ("1", "2"):
        await anytrack_client.submit(Conversion.sale(revenue=5, order_id=order))
    await assert_tracked(currency="USD")

async def test_refused(anytrack_client, assert_tracked):
    await anytrack_client.submit(Conversion.sale(revenue=5, order_id="1", customer=None))
    await assert_tracked(order_id="1", to=["meta"])

async def test_not_addressed(anytrack_client, assert_tracked):
    await anytrack_client.submit(Conversion.sale(revenue=5, order_id="1"), to=["anytrack"])
    await assert_tracked(order_id="1", to=["hubspot"])
"""


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # Plug-ins are named, because the entry point is there only once the package is installed.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, *PLUGINS, *options, str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_the_tests_on_the_page_pass(tmp_path: Path):
    for number, code in enumerate(EXAMPLES):
        (tmp_path / f"test_example_{number}.py").write_text(code, encoding="utf-8")

    result = run_pytest(tmp_path)

    assert result.returncode == 0, result.stdout
    assert f"{sum(code.count('async def test_') for code in EXAMPLES)} passed" in result.stdout


def test_the_fixtures_work_in_the_auto_mode_of_pytest_asyncio(tmp_path: Path):
    code = EXAMPLES[0].replace("@pytest.mark.asyncio\n", "")
    (tmp_path / "test_example.py").write_text(code, encoding="utf-8")

    result = run_pytest(tmp_path, "-o", "asyncio_mode=auto")

    assert "1 passed" in result.stdout, result.stdout


def test_a_failure_says_what_was_tracked_and_why_a_destination_refused(tmp_path: Path):
    (tmp_path / "test_failing.py").write_text(FAILING, encoding="utf-8")

    result = run_pytest(tmp_path)

    assert "4 failed" in result.stdout, result.stdout
    for message in (
        "0 conversions with order_id='1' were tracked, expected one; tracked: none",
        "2 conversions with currency='USD' were tracked, expected one; tracked: sale:1 (sale, ",
        "sale:1: meta did not accept it: dead: too little to match a customer by",
        "sale:1: it was not addressed to hubspot",
    ):
        assert message in result.stdout, result.stdout


def test_pytest_finds_the_plugin_by_itself():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["entry-points"]["pytest11"] == {"anytrack_async": PLUGIN}


@pytest.mark.parametrize("module", ["httpx", "orjson", "starlette", "anytrack_async.client.client"])
def test_the_plugin_imports_nothing_until_a_fixture_needs_it(module: str):
    code = f"import {PLUGIN}, sys; sys.exit({module!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
