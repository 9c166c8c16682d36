"""`anytrack outbox dead|show|replay|discard|edit|export|prune`."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime

import anyio
import pytest

from anytrack_async import SQLiteOutbox, Status
from anytrack_async.cli.periods import parse_moment
from anytrack_async.cli.selection import parse_age, parse_date
from anytrack_async.errors import ConfigurationError
from tests.cli.conftest import CommandResult
from tests.cli.letters import SALES, fill, statuses


def lines(result: CommandResult) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.out.splitlines()]


# Reading


def test_dead_letters_are_shown_with_time_and_reason(run, filled):
    result = run("outbox", "dead", "meta", "--code", "280", "--limit", "1")

    header, row, note = result.out.splitlines()
    assert header.split() == [
        "died",
        "(UTC)",
        "destination",
        "event",
        "id",
        "code",
        "attempts",
        "reason",
    ]
    assert re.match(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  meta +sale:1 +280 +1  \[b\]too old\[/b\]", row
    )
    assert "--limit" in note


def test_dead_letters_as_json_lines_have_iso_times(run, filled):
    letters = lines(run("outbox", "dead", "--json"))

    assert len(letters) == 6
    assert {**letters[0], "died_at": None} == {
        "destination": "anytrack",
        "event_id": "sale:1",
        "attempts": 1,
        "error": "[b]too old[/b]",
        "code": "280",
        "died_at": None,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", letters[0]["died_at"])


@pytest.mark.parametrize(
    ("options", "orders"),
    [
        (("--text", "TOO OLD"), "13"),
        (("--code", "281"), ""),
        (("--older-than", "1h"), ""),
        (("--newer-than", "1h"), "123"),
        (("--older-than", "2000-01-31"), ""),
        (("--newer-than", "2000-01-31T00:00:00+01:00"), "123"),
        (("sale:2", "sale:3"), "23"),
        (("sale:2", "sale:3", "--code", "280"), "3"),
        (("--limit", "2"), "12"),
    ],
)
def test_options_select_dead_letters(run, filled, options, orders):
    letters = lines(run("outbox", "dead", "--json", "--destination", "meta", *options))

    assert "".join(letter["event_id"][-1] for letter in letters) == orders


def test_no_dead_letters(run, filled):
    assert run("outbox", "dead", "--text", "unheard of").out == "no dead letters\n"


def test_the_command_of_earlier_releases_still_works(run, filled):
    assert "sale:1" in run("outbox", "dead-letters", "meta").out


def test_one_conversion_is_shown_without_the_customers_data(run, filled):
    result = run("outbox", "show", "sale:1")

    assert "anytrack  dead" in result.out
    assert "[b]too old[/b]  code 280  attempts 1  died 2" in result.out
    assert re.search(r"revenue +1\.90", result.out)
    assert re.search(r"customer +\{'email': '\*\*\*'\}", result.out)
    assert re.search(r"click_id +\*\*\*", result.out)
    assert "jane" not in result.out
    revealed = json.loads(run("outbox", "show", "sale:1", "--reveal", "--json").out)
    assert revealed["conversion"]["customer"] == {"email": ["jane@example.com"]}
    assert revealed["destinations"]["meta"]["status"] == "dead"
    assert revealed["destinations"]["meta"]["died_at"].endswith("+00:00")


def test_a_delivered_conversion_is_shown_with_its_states(run, filled):
    result = run("outbox", "show", "sale:0")

    assert [line.split() for line in result.out.splitlines()[:3]] == [
        ["sale:0"],
        ["anytrack", "delivered"],
        ["meta", "delivered"],
    ]


def test_an_order_id_is_answered_with_the_event_id_of_a_sale(run, filled):
    result = run("outbox", "show", "0")

    assert result.code == 2
    assert "event id '0'; a sale with this order id has 'sale:0'" in result.err


def test_a_conversion_that_waits_is_shown_without_the_customers_data(run, outbox_path):
    async def accept() -> None:
        outbox = SQLiteOutbox(outbox_path)
        await outbox.open(["meta"])
        await outbox.append(SALES)
        await outbox.aclose()

    anyio.run(accept)
    result = run("outbox", "show", "sale:2")

    assert re.search(r"meta +waiting", result.out)
    assert re.search(r"revenue +2\.90", result.out)
    assert re.search(r"customer +\{'email': '\*\*\*'\}", result.out)
    assert "jane" not in result.out
    revealed = json.loads(run("outbox", "show", "sale:2", "--reveal", "--json").out)
    assert revealed["conversion"]["customer"] == {"email": ["jane@example.com"]}


# Unknown names


@pytest.mark.parametrize("command", ["dead", "replay", "discard"])
def test_unknown_ids_are_an_error_that_names_them_and_changes_nothing(run, filled, command):
    result = run("outbox", command, "meta", "sale:1", "sale:0", "sale:99")

    assert result.code == 2
    assert "no conversion in the outbox has the event id 'sale:99'" in result.err
    assert "'sale:0' is no dead letter of meta (anytrack: delivered, meta: delivered)" in result.err
    assert "'sale:1'" not in result.err
    assert statuses(filled, "sale:1")["meta"] is Status.DEAD


@pytest.mark.parametrize(
    "command",
    [
        ("dead", "pigeon"),
        ("replay", "pigeon"),
        ("replay", "--destination", "pigeon"),
        ("discard", "--destination", "pigeon", "--yes"),
    ],
)
def test_an_unknown_destination_is_reported_with_the_known_ones(run, filled, command):
    result = run("outbox", *command)

    assert result.code == 2
    assert "'pigeon'" in result.err
    assert "meta" in result.err


@pytest.mark.parametrize("command", [("show", "sale:9"), ("edit", "sale:9", "--set", "revenue=1")])
def test_an_unknown_conversion_is_reported(run, filled, command):
    result = run("outbox", *command)

    assert (result.code, "has the event id 'sale:9'" in result.err) == (2, True)


# Changing


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("meta", "sale:2"), "1 dead letter is due again at meta; the client"),
        (("--destination", "meta"), "3 dead letters are due again at meta; the client"),
        (("--text", "old"), "4 dead letters are due again; the client"),
    ],
)
def test_replay_says_how_many_dead_letters_are_due(run, filled, arguments, answer):
    assert run("outbox", "replay", *arguments).out.startswith(answer)


def test_replay_makes_dead_letters_due(run, filled):
    assert run("outbox", "replay", "--all").out.startswith("6 dead letters are due again; the")
    assert run("outbox", "dead").out == "no dead letters\n"


@pytest.mark.parametrize("command", ["replay", "discard"])
def test_nothing_selected_is_refused(run, filled, command):
    result = run("outbox", command)

    assert result.code == 2
    assert f"say what to {command}" in result.err


def test_discard_asks_with_the_number(run, filled, monkeypatch):
    questions: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda text, abort: questions.append(text))

    assert run("outbox", "discard", "sale:1").out == "2 discarded\n"
    assert questions == ["Discard 2 dead letters for good?"]
    assert statuses(filled, "sale:1") == dict.fromkeys(("anytrack", "meta"), Status.DISCARDED)
    assert run("outbox", "discard", "--text", "unheard of").out == "no dead letters\n"


def test_discard_without_an_answer_changes_nothing(run, filled):
    result = run("outbox", "discard", "meta")

    assert result.code == 1
    assert statuses(filled, "sale:1")["meta"] is Status.DEAD


def test_discard_does_not_ask_with_yes(run, filled):
    assert run("outbox", "discard", "meta", "--code", "280", "-y").out == "2 discarded\n"
    assert "discarded" in run("outbox", "show", "sale:1").out


def test_edit_sets_fields_and_makes_the_conversion_due(run, filled):
    result = run(
        *("outbox", "edit", "sale:1", "--set", "revenue=49.90"),
        *("--set", "customer.email=joe@example.com"),
    )

    assert result.out == "sale:1 is corrected and due again at anytrack, meta\n"
    assert statuses(filled, "sale:1") == dict.fromkeys(("anytrack", "meta"), Status.WAITING)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("sale:1", "--set", "revenue=-1"), "revenue"),
        (("sale:1", "--set", "colour=red"), "colour"),
        (("sale:1", "--set", "revenue"), "NAME=VALUE"),
        (("sale:1", "--set", "event_id=x"), "an event id cannot be changed"),
        (("sale:0", "--set", "revenue=1"), "'sale:0' is no dead letter"),
        (("sale:1",), "--file"),
        (("--set", "revenue=1"), "--file"),
    ],
)
def test_an_edit_that_is_not_valid_changes_nothing(run, filled, options, message):
    result = run("outbox", "edit", *options)

    assert result.code == 2
    assert message in result.err
    assert statuses(filled, "sale:1")["meta"] is Status.DEAD


# Retention


def test_prune_discards_old_dead_letters(run, outbox_path):
    anyio.run(lambda: fill(outbox_path, clock=lambda: time.time() - 40 * 86_400))

    assert run("outbox", "prune").out.startswith("1 conversions dropped")
    assert run("outbox", "prune", "--dead-older-than", "1d").out.startswith("6 dead letters disc")
    assert run("outbox", "dead").out == "no dead letters\n"


def test_an_age_that_cannot_be_read_is_reported(run, filled):
    assert "30d, 12h or 90m" in run("outbox", "prune", "--dead-older-than", "old").err
    assert "2026-01-31" in run("outbox", "dead", "--older-than", "yesterday").err


def test_ages_and_times():
    assert parse_age("90m", "min_age") == parse_age("1.5h", "min_age") == {"min_age": 5400.0}
    assert parse_moment("999999999w", "--from", datetime.now(UTC)).year < 1950  # no OverflowError
    assert parse_date("90m", "died_after", "--newer-than") == {}
    assert parse_date("1970-01-02", "died_after", "") == {"died_after": 86_400.0}
    assert parse_date("1970-01-02T01:00:00+01:00", "died_after", "") == {"died_after": 86_400.0}
    with pytest.raises(ConfigurationError, match="--newer-than"):
        parse_date("1970", "died_after", "--newer-than")


# Another process


def test_a_worker_process_sends_what_another_process_replays_or_corrects(
    child, sandbox, outbox_path
):
    anyio.run(lambda: fill(outbox_path, names=("anytrack",)))
    worker = child("deliver")
    worker.line_with("delivering from")

    replayed = child("outbox", "replay", "anytrack", "sale:1").end()
    assert replayed[0] == 0, replayed
    edited = child("outbox", "edit", "sale:2", "--set", "revenue=49.90").end()
    assert edited[0] == 0, edited
    discarded = child("outbox", "discard", "anytrack", "sale:3", "--yes").end()
    assert discarded[0] == 0, discarded

    worker.line_with("2 delivered")
    worker.interrupt()
    worker.end()
    for event_id in ("sale:1", "sale:2"):
        assert statuses(outbox_path, event_id)["anytrack"] is Status.DELIVERED
    assert statuses(outbox_path, "sale:3")["anytrack"] is Status.DISCARDED
