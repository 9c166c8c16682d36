from __future__ import annotations

import json
import time

import anyio
import pytest

from anytrack_async import Conversion, Customer, SQLiteOutbox
from anytrack_async.cli.track import TrackResult, _DeliveryWatch, track_now
from anytrack_async.models.outcome import Outcome, Report, Status
from tests.cli.conftest import wait_for

SALE = ("track", "sale", "--order-id", "1001", "--revenue", "49.90", "--currency", "EUR")
CUSTOMER = ("--email", "someone@example.com")
BROWSER = ("--set", "user_agent=Mozilla/5.0", "--set", "page_url=https://shop.example.com/")


def test_a_sale_is_tracked_everywhere(run, sandbox):
    result = run(*SALE, *CUSTOMER, *BROWSER, "--click-id", "c1")

    assert result.code == 0
    assert result.err == ""
    assert result.out.splitlines()[0] == "sale:1001 is stored"
    assert [line.split()[:2] for line in result.out.splitlines()[1:]] == [
        ["anytrack", "delivered"],
        ["meta", "delivered"],
        ["hubspot", "delivered"],
    ]
    ledger = sandbox.ledger()
    assert [ledger[name]["unique"] for name in ("anytrack", "meta", "hubspot")] == [1, 1, 1]


def test_a_sale_that_a_destination_may_not_have_is_a_success(run, sandbox):
    result = run(*SALE, *CUSTOMER, *BROWSER, "--set", "consent.ad_user_data=denied")

    assert result.code == 0
    assert "meta      skipped  no consent: ad_user_data is denied" in result.out
    ledger = sandbox.ledger()
    assert [ledger[name]["unique"] for name in ("anytrack", "meta", "hubspot")] == [1, 0, 1]


def test_json_output_has_every_outcome(run, sandbox):
    result = run(*SALE, *CUSTOMER, "--json")

    printed = json.loads(result.out)
    assert printed["event_id"] == "sale:1001"
    assert printed["conversion_id"].startswith("cv_")
    assert printed["outbox"] is None
    assert printed["destinations"]["anytrack"]["status"] == "delivered"
    assert printed["destinations"]["anytrack"]["attempts"] == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--order-id", "\udcff"), "order_id contains an unpaired surrogate"),
        (("--set", "x\udcff=1"), r"'x\udcff' is not a field of Conversion"),
        (("--set", "revenue=" + "9" * 5_000), "revenue must be less than 10^15"),
        (("--set", "ago=" + "9" * 5_000), "ago must be a number of minutes"),
    ],
)
def test_bytes_that_are_no_text_and_huge_numbers_are_errors(run, sandbox, arguments, error):
    result = run("track", "lead", *arguments)

    assert result.code == 2
    assert error in result.err


@pytest.mark.parametrize("kind", ["lead", "signup", "custom"])
def test_every_type_can_be_tracked(run, sandbox, kind):
    assert run("track", kind, *CUSTOMER).code == 0


def test_any_field_can_be_set(run, sandbox, outbox_path):
    result = run(
        *("track", "custom", "--event-name", "Subscribe", "--order-id", "7", "--no-wait"),
        *("--timestamp", "2026-05-04T12:00:00+02:00"),
        *("--set", "source=newsletter", "--set", "customer.phone=+1 212 555 0100"),
        *("--set", "custom_data.plan=pro=max", "--set", "sub_ids.s1=banner"),
    )

    assert result.code == 0
    stored = anyio.run(first_entry, outbox_path)
    assert stored.event_id == "custom:Subscribe:7"
    assert stored.source == "newsletter"
    assert stored.customer.phone == ("+1 212 555 0100",)
    assert stored.custom_data == {"plan": "pro=max"}
    assert stored.sub_ids == {"s1": "banner"}
    assert stored.timestamp.isoformat() == "2026-05-04T10:00:00+00:00"


async def first_entry(path) -> Conversion:
    outbox = SQLiteOutbox(path)
    await outbox.open([])
    try:
        return (await outbox.claim("anytrack", 1, 60)).entries[0].conversion
    finally:
        await outbox.aclose()


def test_a_rejection_is_shown_with_its_reason(run, sandbox):
    result = run("track", "lead", "--order-id", "9", "--currency", "THB", *CUSTOMER)

    assert result.code == 1
    assert "hubspot   dead  " in result.out
    assert "THB" in result.out
    assert "lead:9 was rejected by hubspot" in result.err
    assert "Traceback" not in result.err


def test_refused_credentials_are_reported_without_waiting(run, sandbox, monkeypatch, outbox_path):
    monkeypatch.setenv("ANYTRACK_API_KEY", "old")

    started = time.monotonic()
    result = run("track", "lead", "--order-id", "9", *CUSTOMER, "--timeout", 60)

    assert time.monotonic() - started < 30
    assert result.code == 1
    assert "anytrack  waiting  " in result.out
    assert "API key" in result.out
    assert "meta      delivered" in result.out
    assert "do not track it again" in result.err
    assert str(outbox_path) in result.err


def test_without_an_outbox_file_an_undelivered_conversion_is_not_stored(run, sandbox):
    sandbox.credentials("meta", "another")

    result = run("track", "lead", "--order-id", "9", *CUSTOMER, "--json")

    assert result.code == 1
    assert json.loads(result.out)["destinations"]["meta"]["status"] == "waiting"
    assert "not stored: track it again with --event-id lead:9" in result.err


def test_no_wait_sends_nothing(run, sandbox, outbox_path):
    result = run(*SALE, *CUSTOMER, "--no-wait")

    assert result.code == 0
    assert result.out.count("waiting") == 3
    assert sandbox.ledger()["anytrack"]["requests"] == 0


def test_the_next_client_delivers_a_stored_conversion(run, sandbox, outbox_path):
    run(*SALE, *CUSTOMER, "--no-wait")

    assert run("track", "lead", *CUSTOMER).code == 0
    assert run(*SALE, *CUSTOMER).code == 0
    assert sandbox.ledger()["anytrack"]["unique"] == 2
    assert sandbox.ledger()["anytrack"]["duplicates"] == 0


def test_no_wait_needs_an_outbox_file(run, sandbox):
    result = run(*SALE, "--no-wait")

    assert result.code == 2
    assert result.err == (
        "error: --no-wait needs an outbox to store the conversion: name a file with "
        "ANYTRACK_OUTBOX or --outbox\n"
    )


@pytest.mark.parametrize("options", [(), ("--no-wait",)])
def test_another_amount_for_the_same_order_is_told(run, sandbox, outbox_path, options, caplog):
    run(*SALE, *CUSTOMER, *BROWSER, "--no-wait")
    other = ("track", "sale", "--order-id", "1001", "--revenue", "1", *CUSTOMER, *BROWSER)

    result = run(*other, *options, "--json")

    assert result.code == 0
    told = "conversion 'sale:1001' was accepted as sale 49.90 EUR and came again as sale 1 USD"
    assert json.loads(result.out)["contradicts"] == told
    assert [record.getMessage().startswith(told) for record in caplog.records] == [True]
    expected = "waiting" if options else "delivered"
    assert {d["status"] for d in json.loads(result.out)["destinations"].values()} == {expected}


@pytest.mark.parametrize("options", [(), ("--no-wait",)])
def test_a_value_that_is_left_out_is_logged(run, sandbox, outbox_path, caplog, options):
    run(*SALE, *CUSTOMER, *BROWSER, "--set", "ip_address=10.0.0.7", *options)

    (record,) = caplog.records
    assert "private IP addresses" in record.getMessage()


def test_the_same_order_again_contradicts_nothing(run, sandbox, outbox_path, caplog):
    run(*SALE, *CUSTOMER, *BROWSER)

    result = run(*SALE, *CUSTOMER, "--json")

    assert (result.code, caplog.records) == (0, [])
    assert json.loads(result.out)["contradicts"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sale",), "a sale needs --revenue"),
        (("sale", "--revenue", "1,299.90"), "--revenue must have no comma"),
        (("sale", "--revenue", "-1"), "revenue must not be negative"),
        (("lead", "--currency", "euros"), "currency must be"),
        (("lead", "--timestamp", "2026-01-01T00:00:00"), "timestamp needs a time zone"),
        (("lead", "--set", "colour=red"), "colour is not a field of Conversion"),
        (("lead", "--set", "customer.mail=x"), "customer.mail is not a field of Customer"),
        (("lead", "--set", "customer=x"), "--set customer needs an entry: customer.NAME=VALUE"),
        (("lead", "--set", "sub_ids=x"), "--set sub_ids needs an entry: sub_ids.NAME=VALUE"),
        (("lead", "--set", "nonsense"), "--set needs NAME=VALUE"),
        (("lead", "--set", "=x"), "--set needs NAME=VALUE"),
    ],
)
def test_a_wrong_field_is_reported_on_one_line(run, sandbox, arguments, words):
    result = run("track", *arguments)

    assert result.code == 2
    assert result.err.startswith(f"error: {words}")
    assert result.err.count("\n") == 1
    assert sandbox.ledger()["anytrack"]["requests"] == 0


def test_an_unknown_type_is_wrong_usage(run, sandbox):
    result = run("track", "refund")

    assert result.code == 2
    assert "refund" in result.err


@pytest.mark.parametrize("options", [(), ("--no-wait",)])
def test_missing_credentials_are_named(run, options, outbox_path):
    result = run("track", "lead", *options)

    assert result.code == 2
    assert result.err == "error: set ANYTRACK_API_KEY and ANYTRACK_ACCOUNT_ID in the environment\n"


def test_an_outbox_that_cannot_be_opened_is_reported(run, sandbox, monkeypatch, tmp_path):
    monkeypatch.setenv("ANYTRACK_OUTBOX", str(tmp_path / "nowhere" / "outbox.db"))

    result = run("track", "lead")

    assert result.code == 1
    assert result.err.startswith("error: the folder of the outbox file")
    assert result.err.count("\n") == 1


def test_ctrl_c_reports_the_undelivered_conversion(child, sandbox, outbox_path):
    sandbox.latency(60, "meta")
    tracking = child("track", "lead", "--order-id", "5", *CUSTOMER, "--timeout", "60")

    wait_for(lambda: sandbox.ledger()["meta"]["requests"])
    tracking.interrupt()
    code, _, err = tracking.end()

    assert code == 130
    assert "lead:5 is not delivered everywhere yet, but stored in" in err
    assert err.endswith("interrupted: stopped\n")
    assert "Traceback" not in err


def test_a_second_ctrl_c_stops_without_the_conversion_in_memory(child, sandbox):
    sandbox.latency(60, "meta")
    tracking = child("track", "lead", "--order-id", "5", *CUSTOMER, "--timeout", "60")
    wait_for(lambda: sandbox.ledger()["meta"]["requests"])

    tracking.interrupt()
    line = tracking.process.stderr.readline()
    while "interrupted" not in line:  # a warning of the library comes before
        line = tracking.process.stderr.readline()
    tracking.interrupt()
    code, out, err = tracking.end()

    assert line == "interrupted: finishing 1 conversion; press Ctrl-C again to stop at once\n"
    assert (code, out) == (130, "")
    assert "lead:5 is not delivered everywhere and not stored: track it again with" in err
    assert err.endswith("interrupted: stopped\n")


def outcomes(**statuses: Status) -> Report:
    by_name = {name: Outcome(status=status, destination=name) for name, status in statuses.items()}
    return Report(event_id="e", outcomes=by_name)


def test_a_dead_letter_can_be_replayed_only_from_a_file():
    report = outcomes(anytrack=Status.DELIVERED, hubspot=Status.DEAD)

    advice = TrackResult(report=report, outbox="o.db").advice
    assert f"anytrack outbox replay {report.event_id}" in advice
    assert "anytrack outbox edit" in advice
    assert "track it again" in TrackResult(report=report, outbox=None).advice


async def interrupted(conversion: Conversion, after: float) -> None:
    with anyio.move_on_after(after):
        await track_now(conversion, timeout=60)


def test_an_interrupt_before_submission_writes_nothing(sandbox, capsys):
    watch = _DeliveryWatch()

    watch.advise_if_undelivered()

    assert capsys.readouterr().err == ""


def test_an_interrupt_names_the_undelivered_conversion(sandbox, capsys, monkeypatch):
    monkeypatch.setattr("anytrack_async.cli.track._DRAIN", 0.1)
    sandbox.latency(60, "hubspot")
    lead = Conversion.lead(order_id="6", customer=Customer(email="a@example.com"))

    anyio.run(interrupted, lead, 0.5)

    assert "lead:6 is not delivered everywhere and not stored" in capsys.readouterr().err


def test_track_does_not_wait_for_a_held_lane(sandbox, monkeypatch):
    sandbox.credentials("hubspot", "another")
    sandbox.latency(0.3, "anytrack")
    started = time.monotonic()

    result = anyio.run(track_now, Conversion.lead(order_id="8"), 60.0)

    assert time.monotonic() - started < 30
    assert result.report.outcomes["hubspot"].status is Status.WAITING
    assert result.report.outcomes["anytrack"].status is Status.DELIVERED
