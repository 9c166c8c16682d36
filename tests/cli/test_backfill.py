"""`anytrack backfill`: its screens and exit codes, over the sandbox."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anytrack_async import AnyTrackClient, DeliverySettings, SQLiteOutbox
from anytrack_async.cli.app import app
from tests.backfilling.tables import shopify_row, write_csv
from tests.cli.conftest import wait_for

SERVICES = ("anytrack", "meta", "hubspot")


def paid(age: timedelta = timedelta(hours=1)) -> str:
    return (datetime.now(UTC) - age).strftime("%Y-%m-%d %H:%M:%S +0000")


def orders(path: Path, count: int, **changes: str) -> Path:
    return write_csv(
        path, [shopify_row(number, Paid_at=paid(), **changes) for number in range(count)]
    )


@pytest.fixture
def file(tmp_path) -> Path:
    """An order that can be sent, one without an amount, and one that was refunded."""
    rows = [
        shopify_row(1, Paid_at=paid()),
        shopify_row(2, Paid_at=paid(), Total="much"),
        shopify_row(3, Paid_at=paid(), Financial_Status="refunded"),
    ]
    return write_csv(tmp_path / "orders.csv", rows)


def delivered(sandbox) -> list[int]:
    ledger = sandbox.ledger()
    return [ledger[name]["unique"] for name in SERVICES]


# A run


def test_orders_go_to_every_destination_and_a_second_run_sends_nothing(
    run, sandbox, outbox_path, tmp_path
):
    path = orders(tmp_path / "orders.csv", 30)

    first = run("backfill", path)
    again = run("backfill", path)

    assert (first.code, again.code) == (0, 0)
    assert first.out.splitlines()[0] == "30 rows: 30 accepted, 0 skipped, 0 rejected"
    assert "total of accepted sales: 1,497.00 EUR" in first.out
    for name in SERVICES:
        assert f"{name:<11}" + "         30        0" in first.out
    assert "skipped: 30 accepted before" in again.out
    assert delivered(sandbox) == [30, 30, 30]


def test_the_recognised_format_is_announced(run, sandbox, outbox_path, file):
    result = run("backfill", file)

    line = (
        "orders.csv: Shopify: Orders → Export, csv, recognised by its columns as shopify, "
        "encoding utf-8 (found in the file), delimiter comma (found in the file)"
    )
    assert line in result.err.splitlines()


def test_rejected_rows_have_an_exit_code_and_a_file_that_can_be_corrected(
    run, sandbox, outbox_path, file, tmp_path
):
    rejects = tmp_path / "rejects.csv"

    first = run("backfill", file, "--rejects", rejects)
    rejects.write_text(rejects.read_text().replace("much", "49.90"))
    corrected = run("backfill", rejects)

    assert (first.code, corrected.code) == (3, 0)
    assert "3 rows: 1 accepted, 1 skipped, 1 rejected" in first.out
    assert "rejected: orders.csv, line 3, column" in first.out
    assert f"rejected rows are in {rejects}" in first.out
    assert delivered(sandbox) == [2, 2, 2]


def test_dead_letters_have_an_exit_code(run, sandbox, outbox_path, tmp_path):
    result = run("backfill", orders(tmp_path / "orders.csv", 1, Currency="THB"))

    assert result.code == 3
    assert "see: anytrack outbox dead" in result.out


def test_a_paused_destination_has_an_exit_code(run, sandbox, outbox_path, tmp_path):
    path = orders(tmp_path / "orders.csv", 2)
    run("backfill", path, "--to", "anytrack")  # creates the outbox file with its destinations
    run("outbox", "pause", "meta")

    result = run("backfill", orders(tmp_path / "more.csv", 3))

    assert result.code == 5
    assert "paused" in result.out


def test_rejected_credentials_have_an_exit_code(run, sandbox, outbox_path, tmp_path):
    sandbox.credentials("meta", "another")

    result = run("backfill", orders(tmp_path / "orders.csv", 2))

    assert result.code == 5
    assert "meta                 0        2" in result.out
    assert "held" in result.out
    assert delivered(sandbox) == [2, 0, 2]


def test_a_resumed_run_has_the_exit_code_of_all_its_rows(run, sandbox, outbox_path, file):
    first = run("backfill", file)
    resumed = run("backfill", file, "--resume")

    assert (first.code, resumed.code) == (3, 3)
    assert "nothing was left to read" in resumed.out
    assert "1 of those were rejected" in resumed.out


@pytest.mark.parametrize(
    ("break_meta", "code", "words"),
    [
        (lambda sandbox: sandbox.credentials("meta", "another"), 5, "conversions waiting (held: "),
        (lambda sandbox: sandbox.down("meta"), 4, "conversions waiting ("),
    ],
)
def test_a_full_outbox_has_an_exit_code_and_can_be_resumed(
    run, sandbox, outbox_path, tmp_path, monkeypatch, break_meta, code, words
):
    small(monkeypatch, capacity=500)
    break_meta(sandbox)
    path = orders(tmp_path / "orders.csv", 1300)

    result = run("backfill", path, "--to", "meta", "--json")

    assert result.code == code
    assert json.loads(result.out)["stopped"] == "full"
    assert words in result.err
    assert "go on with the same command and --resume" in result.err


def small(monkeypatch, capacity: int) -> None:
    """Let the command use an outbox that is soon full."""
    from_env = AnyTrackClient.from_env

    def make(outbox: Path) -> AnyTrackClient:
        return from_env(
            outbox=SQLiteOutbox(outbox, capacity=capacity),
            delivery=DeliverySettings(accept_within=0.5, drain=0.1),
        )

    monkeypatch.setattr("anytrack_async.cli.backfill.AnyTrackClient.from_env", make)


def test_one_destination_can_be_chosen(run, sandbox, outbox_path, tmp_path):
    result = run("backfill", orders(tmp_path / "orders.csv", 2), "--to", "meta, anytrack")

    assert result.code == 0
    assert delivered(sandbox) == [2, 2, 0]


def test_a_period_can_be_chosen(run, sandbox, outbox_path, tmp_path):
    rows = [shopify_row(day, Paid_at=paid(timedelta(days=day))) for day in range(4)]
    path = write_csv(tmp_path / "orders.csv", rows)
    until = (datetime.now(UTC) - timedelta(days=1, hours=-1)).isoformat()

    result = run("backfill", path, "--since", "60h", "--until", until, "--dry-run")

    assert "4 rows: 2 accepted, 2 skipped, 0 rejected" in result.out


def test_times_of_a_period_are_in_the_zone_of_the_file(run, sandbox, tmp_path):
    path = write_csv(tmp_path / "o.csv", [shopify_row(1, Paid_at="2026-05-01 00:30:00 +0200")])
    options = ("--since", "2026-05-01", "--dry-run")

    in_berlin = run("backfill", path, *options, "--timezone", "Europe/Berlin")
    in_utc = run("backfill", path, *options)

    assert "1 accepted" in in_berlin.out
    assert "0 accepted, 1 skipped" in in_utc.out


def test_standard_input_is_a_source(child, sandbox, outbox_path, tmp_path):
    process = child("backfill", "-", stdin=orders(tmp_path / "orders.csv", 3))
    code, out, _ = process.end()

    assert code == 0
    assert out.startswith("3 rows: 3 accepted")


def test_a_query_is_a_source(run, sandbox, outbox_path, tmp_path):
    database = tmp_path / "shop.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table sales (number text, total real, paid text, mail text)")
        values = ("7", 12.5, datetime.now(UTC).isoformat(), "jane@example.com")
        connection.execute("insert into sales values (?, ?, ?, ?)", values)
    mapping = tmp_path / "map.toml"
    mapping.write_text(
        'currency = "EUR"\namounts = "total"\n[columns]\n'
        'order_id = "number"\ntimestamp = "paid"\n"customer.email" = "mail"\n'
    )
    source = ("--sql", "select * from sales", "--database", f"sqlite:///{database}")

    result = run("backfill", *source, "--map", mapping)

    assert result.code == 0
    assert "total of accepted sales: 12.5 EUR" in result.out
    assert sandbox.ledger(ids=True)["anytrack"]["ids"] == {"sale:7": 1}


def test_json_is_all_that_standard_output_has(run, sandbox, outbox_path, file):
    result = run("backfill", file, "--json")

    report = json.loads(result.out)
    assert result.code == 3
    assert report["counts"]["rows"] == 3
    assert report["counts"]["totals"] == {"EUR": "49.90"}
    assert report["destinations"]["meta"]["delivered"] == 1
    assert report["sources"][0]["preset"] == "shopify"
    (reject,) = report["rejects"]
    assert reject["line"] == 3
    assert "customer" not in json.dumps(reject)


def test_too_many_rejected_rows_stop_the_run(run, sandbox, outbox_path, tmp_path):
    path = orders(tmp_path / "orders.csv", 5, Total="much")

    result = run("backfill", path, "--max-rejects", "2")

    assert result.code == 3
    assert "stopped at --max-rejects" in result.out


def test_a_signal_ends_the_run_and_resume_goes_on(child, run, sandbox, outbox_path, tmp_path):
    path = orders(tmp_path / "orders.csv", 1_200)
    options = ("--to", "meta")

    process = child("backfill", path, *options, "--rate", "100", "--json")
    wait_until_accepted(outbox_path)
    process.interrupt()
    code, out, err = process.end()
    rest = run("backfill", path, *options, "--resume")

    assert code == 4
    unfinished = json.loads(out)
    assert (unfinished["stopped"], unfinished["complete"]) == ("interrupted", False)
    assert "interrupted: " in err
    assert "go on with the same command and --resume" in err
    assert rest.code == 0
    assert delivered(sandbox) == [0, 1_200, 0]


def wait_until_accepted(path: Path) -> None:
    def has_rows() -> bool:
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                return connection.execute("select count(*) from ids").fetchone()[0] > 0
        except sqlite3.OperationalError:
            return False

    wait_for(has_rows)


# Before a run


def test_a_dry_run_sends_and_writes_nothing(run, sandbox, outbox_path, file, tmp_path):
    rejects = tmp_path / "rejects.csv"

    result = run("backfill", file, "--dry-run", "--rejects", rejects)

    assert result.code == 3
    assert "3 rows: 1 accepted, 1 skipped, 1 rejected" in result.out
    assert "dry run: nothing was sent or written" in result.out
    assert delivered(sandbox) == [0, 0, 0]
    assert not outbox_path.exists()
    assert not rejects.exists()


def test_a_dry_run_knows_what_was_sent_before_and_what_is_too_old(
    run, sandbox, outbox_path, tmp_path
):
    run("backfill", orders(tmp_path / "first.csv", 2))
    rows = [shopify_row(number, Paid_at=paid()) for number in range(3)]
    rows.append(shopify_row(9, Paid_at=paid(timedelta(days=30))))
    rows.append(shopify_row(10, Paid_at=paid(timedelta(days=-30))))

    result = run("backfill", write_csv(tmp_path / "both.csv", rows), "--dry-run")

    assert "skipped: 2 accepted before" in result.out
    assert "too old for meta, so not sent there: 1" in result.out
    assert "dated in the future: 1 (check --timezone" in result.out


def test_a_dry_run_needs_no_credentials(run, file):
    result = run("backfill", file, "--dry-run")

    assert result.code == 3
    assert "note: no destination was checked: set ANYTRACK_API_KEY" in result.err


def test_the_first_rows_are_shown_as_each_service_would_get_them(run, sandbox, outbox_path, file):
    result = run("backfill", file, "--inspect")

    assert result.code == 0
    assert "line 2: sale:5000001, 49.90 EUR" in result.out
    for name in SERVICES:
        assert f"\n  {name}\n" in result.out
    assert "matched by: em, zp" in result.out
    assert "a second run: nothing is sent" in result.out
    assert "customer.1@example.com" not in result.out
    assert "rejected: orders.csv, line 3" in result.out
    assert delivered(sandbox) == [0, 0, 0]


def test_the_first_rows_as_json(run, sandbox, outbox_path, file):
    record = json.loads(run("backfill", file, "--inspect", "--json").out)

    assert record["rows"][0]["event_id"] == "sale:5000001"
    assert set(record["rows"][0]["destinations"]) == set(SERVICES)


@pytest.mark.parametrize(
    ("options", "answer", "sent"), [((), "n\n", 0), ((), "y\n", 2), (("--yes",), "", 2)]
)
def test_on_a_terminal_it_asks_before_it_sends(
    sandbox, outbox_path, tmp_path, monkeypatch, options, answer, sent
):
    monkeypatch.setattr("anytrack_async.cli.backfill._is_interactive", lambda: True)
    path = orders(tmp_path / "orders.csv", 2)

    result = CliRunner().invoke(app, ["backfill", str(path), *options], input=answer)

    assert ("Send its conversions?" in result.stdout) is not bool(options)
    assert delivered(sandbox) == [sent, sent, sent]


# Wrong usage


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "name a FILE"),
        (("a.csv", "--sql", "select 1"), "--sql and FILE exclude each other"),
        (("--sql", "select 1"), "--sql needs --database"),
        (("a.csv", "--preset", "shopify", "--map", "m.toml"), "--preset and --map exclude"),
        (("a.csv", "--since", "yesterday"), "--since needs a time"),
        (("a.csv", "--refunds", "perhaps"), "refunds must be"),
        (("a.csv", "--timezone", "Nowhere"), "timezone must be"),
        (("absent.csv",), "absent.csv"),
    ],
)
def test_wrong_usage_is_explained(run, sandbox, outbox_path, options, message, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)

    result = run("backfill", *options)

    assert result.code in (1, 2)
    assert message in result.err
    assert "Traceback" not in result.err


def test_a_run_needs_an_outbox_file(run, sandbox, file):
    result = run("backfill", file)

    assert result.code == 2
    assert "name an outbox file" in result.err
    assert delivered(sandbox) == [0, 0, 0]
