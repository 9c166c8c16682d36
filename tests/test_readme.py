"""The README's examples run as they stand, twice, against the sandbox; and mypy checks them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from anytrack_async import (
    HttpSettings,
    HubSpotSettings,
    HubSpotSink,
    MetaSettings,
    errors,
)
from anytrack_async.sandbox import Sandbox, running

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ERRORS = (ROOT / "docs/guides/errors.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs/reference/configuration.md").read_text(encoding="utf-8")
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


# In one process, because starting Python again would take longer than the example itself.
TWICE = """
import sys
for _ in range(2):
    exec(sys.argv[1], {"__name__": "__main__"})
    print("end of run", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def example_process(
    heading: str, sandbox: Sandbox, folder: Path, *script: str
) -> Iterator[subprocess.Popen[str]]:
    """Run an example in *folder*, with an outbox there, by *script* if there is one."""
    outbox = {"ANYTRACK_OUTBOX": str(folder / "outbox.db")}
    inherited = {name: text for name, text in os.environ.items() if "COVERAGE" not in name}
    example = dict(examples())[heading] + AFTERWARDS.get(heading, "")
    with (folder / "stderr").open("w+", encoding="utf-8") as errors:
        with subprocess.Popen(
            [sys.executable, "-c", *script, example],
            cwd=folder,
            env={**inherited, **sandbox.environment(), **outbox},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process:
            try:
                yield process
            except BaseException:
                process.kill()  # otherwise leaving the block waits for its end
                raise
        errors.seek(0)
        text = errors.read()
    assert process.returncode == 0, text
    assert "Traceback" not in text


def run_example(heading: str, sandbox: Sandbox, folder: Path) -> str:
    """Run an example once; return what it prints."""
    with example_process(heading, sandbox, folder) as process:
        return process.communicate(timeout=60)[0]


def write_orders(folder: Path) -> None:
    """Write ``orders.csv``: two good orders, an old one, and two rows that are not valid."""
    now = datetime.now(UTC)
    recently, long_ago = (now - timedelta(days=days) for days in (1, 30))
    rows = [
        "order_id,total,currency,email,ordered_at",
        f"B-1,10,EUR,a@example.com,{recently.isoformat()}",
        f'B-2,"20,50",USD,b@example.com,{recently.isoformat()}',
        f"B-3,30,USD,c@example.com,{recently.isoformat()}",
        f"B-4,40,USD,d@example.com,{long_ago.isoformat()}",
        "B-5,50",
    ]
    (folder / "orders.csv").write_text("\n".join(rows), encoding="utf-8")


def sent(sandbox: Sandbox) -> dict[str, tuple[int, int]]:
    """Return service → how many conversions it has got, and how many of them again."""
    ledger = sandbox.ledger()
    return {name: (service["unique"], service["duplicates"]) for name, service in ledger.items()}


@pytest.mark.parametrize("heading", dict(examples()))
def test_an_example_runs_twice_and_sends_nothing_twice(
    heading: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    write_orders(tmp_path)
    with example_process(heading, sandbox, tmp_path, TWICE) as process:
        assert "end of run\n" in process.stdout  # reads up to there
        first = sent(sandbox)
        process.communicate("\n", timeout=60)

    assert sent(sandbox) == first
    assert {repeats for _, repeats in first.values()} == {0}


def test_there_is_one_example_for_each_heading() -> None:
    assert len(dict(examples())) == len(list(examples()))


def test_the_back_fill_skips_bad_rows_and_says_which(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.reset()
    write_orders(tmp_path)

    lines = run_example("In a back-fill script", sandbox, tmp_path).splitlines()

    assert [line.partition(":")[0] for line in lines if line.startswith("line ")] == [
        "line 3 is skipped",
        "line 6 is skipped",
    ]
    (old,) = (line for line in lines if line.startswith("sale:B-4"))
    assert "Meta takes this event for 7 days" in old
    got = {name: {*sandbox.ledger(ids=True)[name]["ids"]} for name in ("meta", "hubspot")}
    assert got == {
        "meta": {"sale:B-1", "sale:B-3"},
        "hubspot": {"sale:B-1", "sale:B-3", "sale:B-4"},
    }


def test_the_examples_are_typed(tmp_path: Path) -> None:
    for number, (_, code) in enumerate(examples()):
        (tmp_path / f"example_{number}.py").write_text(code, encoding="utf-8")

    # With the project's cache: without it, mypy would read every library again.
    result = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict"),
            *("--config-file", str(ROOT / "pyproject.toml")),
            *("--cache-dir", str(ROOT / ".mypy_cache")),
            *map(str, sorted(tmp_path.glob("*.py"))),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert result.returncode == 0, result.stdout + result.stderr


def test_the_guide_to_errors_names_every_error_that_a_caller_may_see() -> None:
    families = {"AnyTrackError", "DeliveryError"}
    special = {"NotFoundError", "SchemaVersionError"}  # a RejectedError and an OutboxError

    names = {*re.findall(r"`(\w+Error)`", ERRORS)}
    assert {*errors.__all__} - families - special <= names


def test_every_extra_is_in_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    table = README.partition("## Install")[2].partition("\n## ")[0]

    assert {*re.findall(r"\[(\w+)\]`", table)} == {*project["optional-dependencies"]} - INTERNAL


def test_the_tests_need_no_other_extra_than_dev() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    (own,) = (line for line in extras["dev"] if line.startswith("anytrack_async["))

    # Tests of an extra that is not installed may be skipped; all of them run in `make test`.
    assert {*own.partition("[")[2].rstrip("]").split(",")} == {*extras} - INTERNAL


def test_the_page_of_settings_has_the_default_batch_sizes_and_concurrency() -> None:
    meta = MetaSettings(pixel_id="1", access_token="t")
    hubspot = HubSpotSink(HubSpotSettings(access_token="t")).limits
    text = " ".join(CONFIGURATION.split())

    assert f"{HttpSettings().connections} requests at once" in text
    assert f"{meta.batch:,} a request, {WORDS[meta.concurrency]} requests at once" in text
    assert f"batches of {hubspot.batch}, {WORDS[hubspot.concurrency]} at once" in text
