"""Screens of `anytrack backfill`: the first rows, a proposed mapping, the final report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
from rich.text import Text

from anytrack_async.backfilling.inspection import DestinationPreview, Inspection, RowPreview
from anytrack_async.backfilling.report import BackfillReport, Reject, RowCounts, SourceInfo
from anytrack_async.cli.backfill_progress import (
    NARROW,
    counts_text,
    destination_text,
    source_line,
    state_text,
)
from anytrack_async.cli.output import (
    BAD,
    FAINT,
    NOTE,
    duration,
    make_table,
    stdout_console,
    write_error,
)

__all__ = [
    "inspection_record",
    "report_record",
    "show_inspection",
    "show_proposal",
    "show_report",
    "source_line",
]

_SHOWN_REJECTS = 10


def _print(line: str | Text, style: str = "") -> None:
    text = Text(line, style) if isinstance(line, str) else line
    stdout_console().print(text, soft_wrap=True)


# The first rows


def show_inspection(inspection: Inspection) -> None:
    """Show how the first rows would be sent to each destination."""
    _print(source_line(inspection.info))
    for row in inspection.rows:
        _print("")
        _show_row(row)
    if not inspection.rows:
        _print("none of the first rows is a conversion", NOTE)
    for reason, count in inspection.skipped.items():
        _print(f"{count:,} of the first rows are skipped: {reason}", NOTE)
    for reject in inspection.rejects[:_SHOWN_REJECTS]:
        _print(f"rejected: {reject}", BAD)


def _show_row(row: RowPreview) -> None:
    sale = row.conversion
    repeat_note = ", accepted before: a run would skip it" if row.known else ""
    _print(
        f"line {row.line}: {sale.event_id}, {sale.revenue} {sale.currency}, "
        f"{sale.timestamp:%Y-%m-%d %H:%M:%S} UTC{repeat_note}",
        "bold",
    )
    for name, preview in row.destinations.items():
        _show_preview(name, preview)


def _show_preview(name: str, preview: DestinationPreview) -> None:
    _print(f"  {name}")
    if preview.problem:
        _print(f"    not accepted there: {preview.problem}", BAD)
    _print(f"    matched by: {', '.join(preview.match_keys) or 'nothing'}")
    if preview.missing:
        _print(f"    would match better with: {', '.join(preview.missing)}", NOTE)
    for kind, request in preview.requests.items():
        text = json.dumps(request, indent=2, ensure_ascii=False, default=str)
        _print(f"    {kind}: " + text.replace("\n", "\n    "), FAINT)
    if preview.second_run:
        _print(f"    a second run: {preview.second_run}")


def show_proposal(inspection: Inspection) -> None:
    """Write a proposed ``map.toml`` to standard output, and instructions to standard error."""
    guess = inspection.guess
    if guess is None:
        return
    questions = "answer its questions, " if guess.questions else ""
    write_error(
        f"{inspection.info.name} has the columns of no preset. A mapping is proposed on standard "
        f"output: save it with > map.toml, {questions}and run again with --map map.toml",
        label="error",
    )
    stdout_console().print(guess.toml, markup=False, soft_wrap=True, end="")
    for question in guess.questions:
        of = f" ({', '.join(question.candidates)})" if question.candidates else ""
        label = "question" if question.required else "note"
        write_error(f"{question.topic}: {question.text}{of}", label=label)


def inspection_record(inspection: Inspection) -> dict[str, Any]:
    """Return *inspection* as a JSON object; customer data is masked."""
    guess = inspection.guess
    return {
        "source": _source_record(inspection.info),
        "rows": [_row_record(row) for row in inspection.rows],
        "rejects": [_reject_record(reject) for reject in inspection.rejects],
        "skipped": _plain_keys(inspection.skipped),
        "map": None if guess is None else guess.toml,
        "questions": [] if guess is None else [attrs.asdict(item) for item in guess.questions],
    }


def _row_record(row: RowPreview) -> dict[str, Any]:
    sale = row.conversion
    return {
        "line": row.line,
        "event_id": sale.event_id,
        "revenue": str(sale.revenue),
        "currency": sale.currency,
        "timestamp": sale.timestamp.isoformat(),
        "known": row.known,
        "destinations": {
            # As text and back: a request may have values that JSON has only as text.
            name: json.loads(json.dumps(attrs.asdict(preview), default=str))
            for name, preview in row.destinations.items()
        },
    }


# The report


def show_report(report: BackfillReport) -> None:
    """Show the final report."""
    counts = report.counts
    _print(counts_text(counts), "bold")
    if report.resumed_at:
        _print(f"went on behind {report.resumed_at:,} rows that an earlier run had read")
    if report.resumed_at and not counts.rows:
        _print("nothing was left to read")
    if report.rejected_before:
        _print(f"{report.rejected_before:,} of those were rejected", BAD)
    _show_counts(counts)
    _show_rejects(report)
    if report.destinations:
        _show_destinations(report)
    for name, seconds in report.expected_seconds.items():
        _print(f"{name} would take {duration(seconds)} at its rate limit")
    if report.stopped == "limit":
        _print("stopped at --limit; more rows may follow", NOTE)
    if report.stopped == "max_rejects":
        _print("stopped at --max-rejects; correct the cause, and run it again", BAD)
    ending = "dry run: nothing was sent or written" if report.dry_run else "done"
    _print(f"{ending}, after {duration(report.seconds)}", FAINT)


_IN_FUTURE = "check --timezone, --day-first or --month-first; Meta would get the current time"


def _show_counts(counts: RowCounts) -> None:
    for reason, count in counts.skipped.items():
        _print(f"  skipped: {count:,} {reason}")
    for name, count in counts.too_old.items():
        _print(f"  too old for {name}, so not sent there: {count:,}", NOTE)
    for name, count in counts.origin.items():
        _print(f"  come from {name}, so not sent there: {count:,} (--to {name} sends them)", NOTE)
    if counts.contradictions:
        _print(f"  contradict a conversion accepted before: {counts.contradictions:,}", BAD)
    if counts.refunds:
        _print(f"  refunds and cancellations: {counts.refunds:,}")
    _show_accepted(counts)


def _show_accepted(counts: RowCounts) -> None:
    for kind, count in counts.weakened.items():
        _print(f"  matched less well: {count:,} {kind}", NOTE)
    if counts.future:
        _print(f"  dated in the future: {counts.future:,} ({_IN_FUTURE})", BAD)
    for currency, total in counts.totals.items():
        _print(f"  total of accepted sales: {total:,} {currency}")
    if counts.earliest is not None and counts.latest is not None:
        _print(f"  from {counts.earliest:%Y-%m-%d %H:%M} to {counts.latest:%Y-%m-%d %H:%M} UTC")


def _show_rejects(report: BackfillReport) -> None:
    rejects = report.rejects if report.dry_run else report.rejects[:_SHOWN_REJECTS]
    for reject in rejects:
        _print(f"rejected: {reject}", BAD)
    if (more := report.counts.rejected - len(rejects)) > 0:
        _print(f"and {more:,} more rejected rows", BAD)
    if report.rejects_file:
        _print(f"rejected rows are in {report.rejects_file}: correct them, and back-fill that file")
    elif report.counts.rejected and not report.dry_run:
        _print("with --rejects FILE, rejected rows are kept for correction", NOTE)


def _show_destinations(report: BackfillReport) -> None:
    console = stdout_console(wide=True)
    if console.width < NARROW:
        for name, item in report.destinations.items():
            _print(destination_text(name, item))
        return
    table = make_table("destination", ">delivered", ">waiting", ">retrying", ">dead", "")
    for name, item in report.destinations.items():
        remark = Text("see: anytrack outbox dead", BAD) if item.dead else state_text(item)
        numbers = (item.delivered, item.waiting, item.retrying, item.dead)
        table.add_row(Text(name), *(f"{number:,}" for number in numbers), remark)
    console.print(table)


def report_record(report: BackfillReport) -> dict[str, Any]:
    """Return *report* as a JSON object."""
    return {
        "counts": _counts_record(report.counts),
        "sources": [_source_record(info) for info in report.sources],
        "rejects": [_reject_record(reject) for reject in report.rejects],
        "rejects_file": report.rejects_file,
        "unchanged": report.unchanged,
        "resumed_at": report.resumed_at,
        "rejected_before": report.rejected_before,
        "destinations": {name: attrs.asdict(item) for name, item in report.destinations.items()},
        "expected_seconds": dict(report.expected_seconds),
        "dry_run": report.dry_run,
        "stopped": report.stopped,
        "complete": report.complete,
        "seconds": round(report.seconds, 3),
    }


def _counts_record(counts: RowCounts) -> Mapping[str, Any]:
    return {
        **attrs.asdict(counts),
        "totals": {currency: str(total) for currency, total in counts.totals.items()},
        "skipped": _plain_keys(counts.skipped),
        "weakened": _plain_keys(counts.weakened),
        "future": counts.future,
    }


def _plain_keys(counts: Mapping[str, int]) -> dict[str, int]:
    """Return *counts* with keys that are `str` itself: orjson takes no keys of a subclass."""
    return {"".join(key): count for key, count in counts.items()}


def _source_record(info: SourceInfo) -> dict[str, Any]:
    return attrs.asdict(info)


def _reject_record(reject: Reject) -> dict[str, Any]:
    record = attrs.asdict(reject)
    del record["rows"], record["columns"]  # customer data; the file of rejected rows has them
    return record
