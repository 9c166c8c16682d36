"""The README's examples run as they stand, against the sandbox."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import anytrack_async
from anytrack_async import (
    HttpSettings,
    HubSpotSettings,
    HubSpotSink,
    MetaSettings,
    errors,
)
from anytrack_async.client.config import KEYS_VARIABLE, OUTBOX_VARIABLE
from anytrack_async.destinations.registry import destinations
from anytrack_async.sandbox import Sandbox, running

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(
    r"^### (.+?)$|^## (.+?)$|```python\n(.+?)```", README, re.MULTILINE | re.DOTALL
)


def examples() -> Iterator[tuple[str, str]]:
    """Each Python block with the heading above it."""
    heading = ""
    for small, large, code in EXAMPLES:
        heading = small or large or heading
        if code:
            yield heading, code


WEB_REQUEST = """
from starlette.testclient import TestClient

with TestClient(app) as browser:
    order = {"id": "W-1", "total": "9.90", "email": "a@example.com", "click_id": "c"}
    assert browser.post("/thanks", json=order).json() == {"thanks": True}
"""

AFTERWARDS = {"In an async web app": WEB_REQUEST}

INTERNAL = {"bench", "dev"}
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


@pytest.mark.parametrize(("heading", "code"), list(examples()), ids=[h for h, _ in examples()])
def test_example_runs(heading: str, code: str, sandbox: Sandbox, tmp_path: Path) -> None:
    rows = "order_id,total,currency,email\nB-1,10,EUR,a@example.com\nB-2,20,USD,b@example.com\n"
    (tmp_path / "orders.csv").write_text(rows, encoding="utf-8")
    outbox = {"ANYTRACK_OUTBOX": str(tmp_path / "outbox.db")}

    result = subprocess.run(
        [sys.executable, "-c", code + AFTERWARDS.get(heading, "")],
        cwd=tmp_path,
        env={**os.environ, **sandbox.environment(), **outbox},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def test_examples_reached_the_services(sandbox: Sandbox, tmp_path: Path) -> None:
    test_example_runs(
        "In a back-fill script", dict(examples())["In a back-fill script"], sandbox, tmp_path
    )

    assert {"sale:B-1", "sale:B-2"} <= sandbox.ledger(ids=True)["hubspot"]["ids"].keys()


def test_every_class_in_the_readme_is_importable_from_the_root() -> None:
    names = {*re.findall(r"\b[A-Z]\w+(?:Error|Settings|Fields|Sink|Limits|Client)\b", README)}
    builtin, examples = {"TypeError", "OSError"}, {"FileSink", "PigeonSink"}

    assert {"MetaFields", "OAuthSettings", "DeliveryTimeoutError"} <= names
    assert names - builtin - examples <= {*anytrack_async.__all__}


def test_the_readme_names_every_error_that_a_caller_may_see() -> None:
    section = README.partition("## Errors")[2].partition("\n## ")[0]
    families = {"AnyTrackError", "DeliveryError"}
    special = {"NotFoundError", "SchemaVersionError"}  # a RejectedError and an OutboxError

    names = {*re.findall(r"`(\w+Error)`", section)}
    assert {*errors.__all__} - families - special <= names


def test_every_extra_is_in_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    table = README.partition("## Install")[2].partition("\n## ")[0]

    assert {*re.findall(r"\[(\w+)\]`", table)} == {*project["optional-dependencies"]} - INTERNAL


def test_the_readme_lists_every_environment_variable_that_is_read() -> None:
    table = README.partition("reads:\n")[2].partition("\n\nEverything else")[0]
    variables = {name for entry in destinations() for name in entry.sink_class().variables}

    assert {*re.findall(r"`([A-Z_]{5,})`", table)} == variables | {OUTBOX_VARIABLE, KEYS_VARIABLE}


def test_the_readme_has_the_default_batch_sizes_and_concurrency() -> None:
    meta = MetaSettings(pixel_id="1", access_token="t")
    hubspot = HubSpotSink(HubSpotSettings(access_token="t")).limits
    text = " ".join(README.split())

    assert f"{HttpSettings().connections} requests at once" in text
    assert f"{meta.batch:,} a request, {WORDS[meta.concurrency]} requests at once" in text
    assert f"batches of {hubspot.batch}, {WORDS[hubspot.concurrency]} at once" in text
