"""`anytrack stats` and `anytrack outbox` read the outbox file and send nothing."""

from __future__ import annotations

import json

import anyio
import pytest

from anytrack_async import Conversion, SQLiteOutbox
from anytrack_async.outbox.base import FailedEntry


async def fill(path) -> None:
    """Three conversions: at Meta one is delivered, one dead, one waiting; at HubSpot all wait."""
    outbox = SQLiteOutbox(path)
    await outbox.open(["hubspot", "meta"])
    await outbox.append([Conversion.sale(order_id=f"{n}", revenue=n) for n in range(3)])
    claim = await outbox.claim("meta", 2, 60)
    dead = FailedEntry(
        seq=claim.entries[1].seq, attempts=1, error="[b]too old[/b]", code="280", due=None
    )
    await outbox.settle(claim, [dead])
    await outbox.aclose()


@pytest.fixture
def filled(outbox_path):
    anyio.run(fill, outbox_path)
    return outbox_path


async def destinations(path) -> list[str]:
    outbox = SQLiteOutbox(path)
    await outbox.open([])
    names = list(await outbox.destinations())
    await outbox.aclose()
    return names


COMMANDS = [
    ("stats",),
    ("outbox", "dead"),
    ("outbox", "dead-letters"),
    ("outbox", "show", "sale:1"),
    ("outbox", "replay", "meta"),
    ("outbox", "edit", "sale:1", "--set", "revenue=7"),
    ("outbox", "prune"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_without_the_variable_one_line_says_what_to_set(run, command):
    result = run(*command)

    assert result.code == 2
    assert result.err.startswith("error: name an outbox: set ANYTRACK_OUTBOX, or use --outbox")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_file_is_not_created(run, outbox_path, command):
    result = run(*command)

    assert result.code == 2
    assert "which does not exist" in result.err
    assert not outbox_path.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_not_an_outbox_is_reported(run, outbox_path, command):
    outbox_path.write_text("something else, long enough to be read as a header\n" * 20)

    result = run(*command)

    assert result.code == 1
    assert "not a database" in result.err
    assert result.err.count("\n") == 1


def test_stats_show_the_backlog_of_each_destination(run, filled):
    result = run("stats")

    rows = {line.split()[0]: line.split()[1:5] for line in result.out.splitlines()[2:]}
    assert rows == {"meta": ["1", "0", "0", "1"], "hubspot": ["3", "0", "0", "0"]}
    assert "oldest" in result.out
    assert "anytrack outbox dead" in result.out
    assert result.code == 0


def test_stats_as_json(run, filled):
    printed = json.loads(run("stats", "--json").out)

    assert printed["outbox"] == str(filled)
    meta = printed["destinations"]["meta"]
    assert 0 <= meta.pop("oldest_age") < 60
    assert meta == {
        "waiting": 1,
        "in_flight": 0,
        "retrying": 0,
        "dead": 1,
    }


def test_stats_say_when_all_is_delivered(run, outbox_path):
    async def empty(path) -> None:
        outbox = SQLiteOutbox(path)
        await outbox.open(["meta"])
        await outbox.aclose()

    anyio.run(empty, outbox_path)

    assert "all delivered" in run("stats").out


def test_stats_of_an_outbox_without_destinations(run, outbox_path):
    async def empty(path) -> None:
        outbox = SQLiteOutbox(path)
        await outbox.open([])
        await outbox.aclose()

    anyio.run(empty, outbox_path)

    assert "no destination has used this outbox yet" in run("stats").out


def test_no_command_adds_a_destination(run, filled):
    for command in COMMANDS:
        run(*command)

    assert sorted(anyio.run(destinations, filled)) == ["hubspot", "meta"]


def test_a_destination_is_paused_and_resumed(run, filled):
    paused = run("outbox", "pause", "meta", "--by", "anna", "--reason", "new pixel")
    shown, table = json.loads(run("stats", "--json").out), run("stats")
    resumed, again = run("outbox", "resume", "meta"), run("outbox", "resume", "meta")
    unknown = run("outbox", "pause", "pigeon")

    assert paused.out.startswith("meta: paused by anna: new pixel; anytrack outbox resume meta")
    pause = shown["destinations"]["meta"]["pause"]
    assert (pause["by"], pause["reason"]) == ("anna", "new pixel")
    assert "pause" not in shown["destinations"]["hubspot"]
    assert "meta: paused by anna: new pixel, for" in table.out
    assert resumed.out == "meta is sent conversions again\n"
    assert again.out == "meta was not paused\n"
    assert unknown.code == 2
