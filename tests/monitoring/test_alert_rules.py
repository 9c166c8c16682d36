"""The alert rules of the page about monitoring: Prometheus's own tool loads them, and they fire.

`promtool` is in the package ``prometheus`` of Debian, and in the archive of each release of
Prometheus. Where it is missing, the end of a test run says what was not run; names of metrics and
labels are compared with real metrics in any case.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from anytrack_async import Conversion
from anytrack_async.monitoring.metrics import exposition, read_backlog
from tests.client.service import Service

PAGE = (Path(__file__).parents[2] / "docs/monitoring.md").read_text(encoding="utf-8")
(RULES,) = re.findall(r"^```yaml\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL)
EXPRESSIONS = re.findall(r"expr: (.+?)(?: #.*)?$", RULES, re.MULTILINE)

FIRING = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: anytrack_outbox_oldest_age_seconds{destination="meta"}
        values: "950+60x20"
      - series: anytrack_outbox_oldest_age_seconds{destination="hubspot"}
        values: "0x20"
      - series: anytrack_lane_state{destination="meta",state="held",instance="a"}
        values: "1x20"
      - series: anytrack_lane_state{destination="meta",state="held",instance="b"}
        values: "0x20"
      - series: anytrack_lane_state{destination="hubspot",state="held"}
        values: "0x20"
      - series: anytrack_outbox_dead{destination="meta"}
        values: "3 3 3 4x17"
      - series: anytrack_outbox_dead{destination="hubspot"}
        values: "9 9 9 2x17"
      - series: anytrack_dropped_total{destination="meta"}
        values: "0 0 5x18"
      - series: anytrack_dropped_total{destination="hubspot"}
        values: "7x20"
    alert_rule_test:
EXPECTED
  - interval: 1h
    input_series:
      - series: anytrack_outbox_oldest_age_seconds{destination="meta"}
        values: "0+3600x200"
    alert_rule_test:
      - {eval_time: 119h, alertname: MetaMatchWindow, exp_alerts: []}
      - eval_time: 121h
        alertname: MetaMatchWindow
        exp_alerts:
          - exp_labels: {severity: page, destination: meta}
            exp_annotations: ANNOTATIONS
"""


def promtool() -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no server: promtool is missing; install Debian's package prometheus")
    return program


def run(folder: Path, *arguments: str, text: str = "") -> str:
    """Run promtool with *text* as its input; return what it printed."""
    result = subprocess.run(
        [promtool(), *arguments], cwd=folder, input=text, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def annotations(alert: str) -> dict[str, str]:
    block = RULES.partition(f"alert: {alert}\n")[2].partition("- alert:")[0]
    found = re.findall(r'(summary|action): "(.+)"', block)
    assert len(found) == 2, alert
    return {
        name: text.replace("{{ $labels.destination }}", "meta").replace(
            "{{ $value | humanizeDuration }}", "25m 50s"
        )
        for name, text in found
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yml").write_text(RULES, encoding="utf-8")
    return tmp_path


async def metrics() -> str:
    async with Service().client() as client:
        await (await client.submit(Conversion.lead(click_id="c")))
        text = exposition(await read_backlog(client.outbox), await client.stats())
    return text.decode()


def test_prometheus_loads_the_rules(folder: Path) -> None:
    run(folder, "check", "rules", "rules.yml")


def test_each_alert_fires_for_the_destination_that_has_the_problem(folder: Path) -> None:
    severities = re.findall(r"alert: (\w+).*?severity: (\w+)", RULES, re.DOTALL)
    expected = "\n".join(
        f"      - eval_time: 10m\n        alertname: {alert}\n        exp_alerts: "
        f"[{{exp_labels: {{severity: {severity}, destination: meta}}, "
        f"exp_annotations: {annotations(alert)}}}]"
        for alert, severity in severities
        if alert != "MetaMatchWindow"
    )
    text = FIRING.replace("EXPECTED", expected)
    text = text.replace("ANNOTATIONS", str(annotations("MetaMatchWindow")))
    (folder / "tests.yml").write_text(text, encoding="utf-8")

    assert len(severities) == 5
    run(folder, "test", "rules", "tests.yml")


@pytest.mark.asyncio
async def test_prometheus_finds_nothing_to_complain_about_in_the_metrics(folder: Path) -> None:
    assert run(folder, "check", "metrics", text=await metrics()) == ""


@pytest.mark.asyncio
async def test_the_rules_use_labels_that_the_metrics_have() -> None:
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(await metrics()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)

    assert len(EXPRESSIONS) == 5
    for expression in EXPRESSIONS:
        for name, selector in re.findall(r"(anytrack_\w+)(?:\{(.*?)\})?", expression):
            used = {*re.findall(r"(\w+)=", selector)}
            grouped = re.findall(r"by \((\w+)\)", expression)
            assert used | {*grouped} | {"destination"} <= labels[name], expression
