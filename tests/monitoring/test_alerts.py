"""The page about monitoring names metrics that exist, and its alert rules use no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from anytrack_async import Conversion
from anytrack_async.monitoring.metrics import exposition, read_backlog
from anytrack_async.outbox.pauses import Pause, save_pause
from tests.client.service import Service

PAGE = (Path(__file__).parents[2] / "docs/monitoring.md").read_text(encoding="utf-8")


@pytest.mark.asyncio
async def test_the_page_lists_the_metrics_that_there_are():
    async with Service().client() as client:
        await (await client.submit(Conversion.lead(click_id="c")))
        await save_pause(client.outbox, "anytrack", Pause(destination="anytrack", since=1e9))
        text = exposition(await read_backlog(client.outbox), await client.stats())

    exported = {
        sample.name
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    listed = set(
        re.findall(r"^\| `(anytrack_\w+?)(?:\{[\w,]+\})?` \| (?:gauge|counter)", PAGE, re.MULTILINE)
    )
    assert listed == exported
    rules = set(re.findall(r"anytrack_\w+", "".join(re.findall(r"expr: (.+)", PAGE))))
    assert rules
    assert rules <= exported
