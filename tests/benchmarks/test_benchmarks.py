"""The parts of the comparisons work, at toy size and without the peers."""

from __future__ import annotations

import asyncio
import importlib
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from types import ModuleType

import orjson
import pytest

from benchmarks import (
    ALL,
    __main__,
    counts,
    durable,
    facebook,
    meta_floor,
    meta_records,
    ours,
    posts,
    report,
)
from benchmarks.child import run_in_process
from benchmarks.hot_path import sales, work
from benchmarks.machine import describe, memory
from benchmarks.measure import Cost, Row, cost_of, interleaved, percentile, rates
from benchmarks.server import Server, running
from benchmarks.shop import client, conversion, conversions, hubspot_sink, meta_sink, records

ROW = Row(3, "speed", "peers", "≥ 2 ×", "3.0 ×", reached=True, details=("ours: 10/s",))


@pytest.fixture(scope="module")
def server():
    with running() as server:
        yield server


def received_since(server: Server, before: dict[str, int], name: str) -> int:
    return server.received().get(name, 0) - before.get(name, 0)


# The scripts


@pytest.mark.parametrize("name", ALL)
def test_each_script_has_a_number_needs_and_a_run(name: str):
    script: ModuleType = importlib.import_module(f"benchmarks.{name}")

    assert script.NUMBER in range(1, len(ALL) + 1)
    assert isinstance(script.NEEDS, tuple)
    assert callable(script.run)
    assert (script.__doc__ or "").startswith(f"Row {script.NUMBER}: ")


def test_every_row_of_the_table_has_one_script():
    numbers = [importlib.import_module(f"benchmarks.{name}").NUMBER for name in ALL]

    assert sorted(numbers) == list(range(1, len(ALL) + 1))


def test_a_script_without_its_peers_reports_them_as_missing(monkeypatch: pytest.MonkeyPatch):
    script = importlib.import_module("benchmarks.meta_pipeline")
    monkeypatch.setattr(script, "NEEDS", ("no_such_tracker",))

    row = __main__._run_here("meta_pipeline", quick=True)

    assert row.reached is None
    assert row.result == "not measured: no_such_tracker not installed, see `make bench`"
    assert row.number == 1


def test_one_comparison_runs_in_a_process_of_its_own():
    row = __main__._run_in_process("imports", quick=True)

    assert row.number == 12
    assert "ms" in row.result


# Ours


@pytest.mark.parametrize("at_once", [1, 10])
def test_our_client_delivers_all_to_meta(server: Server, at_once: int):
    before = server.received()
    tracker = client(server.url, sinks=[meta_sink(server.url)])

    count = asyncio.run(ours.deliver(tracker, list(conversions(25)), ["meta"], at_once=at_once))

    assert count == 25
    assert received_since(server, before, "meta") == 25


def test_our_client_delivers_all_to_anytrack(server: Server):
    before = server.received()

    assert asyncio.run(posts.ours(server, list(conversions(20)))) == 20
    assert received_since(server, before, "anytrack requests") == 20


def test_our_sink_understands_the_servers_hubspot(server: Server):
    async def deliver() -> list[str | None]:
        sink = hubspot_sink(server.url, contacts=True)
        outcomes = await sink.deliver(list(conversions(5)))
        await sink.aclose()
        return [str(outcome.status) for outcome in outcomes]

    assert asyncio.run(deliver()) == ["delivered"] * 5


def test_the_hot_path_needs_no_network():
    asyncio.run(work(sales(30)))


@pytest.mark.parametrize("concurrent", [True, False])
def test_durable_submits_are_delivered(tmp_path: Path, concurrent: bool):
    waits: list[float] = []
    file = tmp_path / "ours.db"

    with durable.record_commits() as commits:
        asyncio.run(durable.ours(file, list(conversions(30)), waits, concurrent=concurrent))

    assert len(waits) == sum(commits) == 30
    with closing(sqlite3.connect(file)) as sql:
        assert sql.execute("SELECT count(*) FROM exception").fetchone() == (0,)
        query = "SELECT cursor FROM destination WHERE name = 'gated'"
        assert sql.execute(query).fetchone() == (30,)


def test_the_bare_insert_commits_as_often_as_we_did(tmp_path: Path):
    rows = [(sale.event_id, b"payload", b"digest", time.time()) for sale in conversions(30)]

    durable.bare(tmp_path / "bare.db", rows, [10, 19, 1])

    with closing(sqlite3.connect(tmp_path / "bare.db")) as sql:
        assert sql.execute("SELECT count(*) FROM log").fetchone() == (30,)


# The floor


def test_the_floor_sends_what_our_sink_sends():
    """Otherwise the comparison would be between different work."""
    from anytrack_async import MetaSettings
    from anytrack_async.destinations.meta.event import to_event

    settings = MetaSettings(pixel_id="1", access_token="token")

    for sale in records(50):
        event = orjson.loads(orjson.dumps(to_event(conversion(sale), settings)))
        assert meta_floor.event(sale) == event


def test_the_floor_is_answered(server: Server):
    assert asyncio.run(meta_floor.floor(server.port, records(10))) == 10


# The server


def test_the_server_responds_after_the_delay():
    with running(0.05) as slow:
        began = time.perf_counter()
        asyncio.run(meta_floor.floor(slow.port, records(1)))

        assert time.perf_counter() - began >= 0.05


@pytest.mark.skipif(report.missing(["facebook_business"]) != [], reason="the peer is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_metas_own_client_sends_all(server: Server):
    before = server.received()
    with facebook.redirected_to(server.url):
        facebook.send([facebook.event(sale) for sale in records(10)], 5)

    assert received_since(server, before, "meta") == 10
    assert received_since(server, before, "meta requests") == 2


@pytest.mark.skipif(report.missing(["facebook_business"]) != [], reason="the peer is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_raw_records_give_both_clients_the_same_events():
    from anytrack_async import MetaSettings
    from anytrack_async.destinations.meta.event import to_event

    # Meta's client leaves hashing external ids to its caller.
    settings = MetaSettings(pixel_id="1", access_token="token", hash_external_id=False)

    for sale in map(meta_records.record, range(20)):
        event = to_event(meta_records.conversion(sale), settings)
        event["custom_data"]["currency"] = "eur"  # Meta takes codes in either case
        assert meta_records.event(sale).normalize() == orjson.loads(orjson.dumps(event))


def test_conversions_made_from_raw_records_all_arrive(server: Server):
    before = server.received()

    assert asyncio.run(meta_records.ours(server, [*map(meta_records.record, range(25))])) == 25
    assert received_since(server, before, "meta") == 25


# Measuring


def test_contenders_take_turns_and_the_median_counts():
    turns = []

    async def quick() -> int:
        turns.append("quick")
        return 100

    def slow() -> int:
        turns.append("slow")
        time.sleep(0.01)
        return 1

    costs = interleaved({"quick": quick, "slow": slow}, rounds=3)

    assert turns == ["quick", "slow"] * 3
    assert costs["slow"].wall >= 0.01 > costs["quick"].wall
    assert rates(costs, "posts")[0].startswith("quick: ")


def test_cost_is_per_unit():
    assert cost_of(lambda: 1_000_000).wall < 0.001
    assert Cost(wall=0.5, cpu=0.1).rate == 2


def test_percentiles():
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0], 0.99) == 1.0


def test_memory_is_measured_in_a_fresh_process():
    assert run_in_process("machine", "memory", "VmHWM") > 5
    assert memory("VmRSS") > 5
    with pytest.raises(RuntimeError, match="LookupError"):
        run_in_process("machine", "memory", "VmNothing")


# Results


def test_rows_survive_the_file(tmp_path: Path):
    missed = ROW._replace(number=4, reached=False, result="1.5 × -- alas")
    path = tmp_path / "RESULTS.md"
    path.write_text(report.render([ROW, missed]), encoding="utf-8")
    text = path.read_text(encoding="utf-8")

    assert "| 3 | speed | peers | ≥ 2 × | 3.0 × | reached |" in text
    assert "| **missed** |" in text
    assert describe() in text
    assert [row.number for row in report.read_rows(path)] == [3, 4]
    assert report.read_rows(path)[0] == ROW


def test_there_are_no_rows_without_a_file(tmp_path: Path):
    assert report.read_rows(tmp_path / "RESULTS.md") == []


# The guard


def test_growth_beyond_the_slack_fails(capsys: pytest.CaptureFixture[str]):
    assert counts._compare({"calls": 101}, {"calls": 100}) == 0
    assert counts._compare({"calls": 110}, {"calls": 100}) == 1
    assert counts._compare({"calls": 110}, {}) == 0
    assert "TOO MUCH" in capsys.readouterr().out


@pytest.mark.parametrize("way", [counts.work, counts.work_in_bulk])
def test_calls_are_counted_alike_each_time(way: counts.Work, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(counts, "COUNT", 400)

    assert counts.calls(way) == pytest.approx(counts.calls(way), rel=0.05)


def test_the_baseline_is_readable():
    baselines = json.loads(counts.BASELINE.read_text())

    assert all(baseline["calls"] > 0 for baseline in baselines.values())
