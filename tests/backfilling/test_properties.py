"""Any table of rows: accepted + skipped + rejected = rows, and a second run sends nothing."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from anytrack_async import BackfillSettings, MemoryOutbox, Reject, SourceInfo, backfill
from anytrack_async.backfilling.reading import RowJob
from anytrack_async.backfilling.rejects import RejectsFile
from tests.backfilling.tables import SHOPIFY, csv_text, read
from tests.client.service import Service
from tests.examples import examples

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NAMES = st.sampled_from(["#1", "#1", "#2", "#3", "", "=1+1"])
CELLS: dict[str, st.SearchStrategy[str]] = {
    "Name": NAMES,
    "Id": st.sampled_from(["", "1", "2", "3"]),
    "Financial Status": st.sampled_from(["paid", "paid", "refunded", "pending", ""]),
    "Paid at": st.sampled_from(["2026-05-01 10:00:00 +0200", "2026-05-01 10:00:00", "", "soon"]),
    "Currency": st.sampled_from(["EUR", "USD", "", "euros"]),
    "Total": st.sampled_from(["49.90", "1,234.50", "-5", "1.234", "", "x", "NaN", "(3.00)"]),
    "Lineitem quantity": st.sampled_from(["1", "2", "0", ""]),
    "Lineitem price": st.sampled_from(["5.00", "", "x"]),
    "Email": TEXT,
    "Note Attributes": TEXT,
    "Billing Name": TEXT,
}
ROW = st.fixed_dictionaries(CELLS) | st.just(dict.fromkeys(CELLS, ""))
SETTINGS = st.builds(
    BackfillSettings,
    timezone=st.sampled_from([None, "Europe/Berlin"]),
    currency=st.sampled_from([None, "EUR"]),
    refunds=st.sampled_from(["skip", "custom"]),
    duplicates=st.sampled_from(["skip", "fail"]),
    limit=st.sampled_from([None, None, 3]),
    only_first=st.booleans(),
    wait=st.just(False),
)


@settings(max_examples=examples(25), deadline=None)
@given(rows=st.lists(ROW, max_size=12), options=SETTINGS, junk=TEXT)
def test_every_row_is_accepted_skipped_or_rejected(
    rows: list[dict[str, str]], options: BackfillSettings, junk: str
):
    async def check(path: Path) -> None:
        service = Service()
        async with service.client(outbox=MemoryOutbox()) as client:
            counts = (await backfill(client, path, settings=options)).counts
            assert counts.accepted + counts.all_skipped + counts.rejected == counts.rows
            sent = (await client.stats()).submitted
            assert sent == counts.accepted
            again = (await backfill(client, path, settings=options)).counts
            assert again.accepted == 0
            assert again.accepted + again.all_skipped + again.rejected == again.rows
            assert (await client.stats()).submitted == sent

    _with_file(csv_text(rows) + junk + "\n", partial(anyio.run, check))


@settings(max_examples=examples(40), deadline=None)
@given(data=st.binary(max_size=400), header=st.booleans())
def test_any_bytes_behind_a_header_end_in_rejects_not_in_an_exception(data: bytes, header: bool):
    text = csv_text([]).encode()

    def run(path: Path) -> None:
        path.write_bytes(text + data if header else text + data.replace(b"\n", b","))
        counts = anyio.run(lambda: read(path, settings=BackfillSettings(encoding="utf-8"))).counts
        assert counts.accepted + counts.all_skipped + counts.rejected == counts.rows

    _with_file("", run)


@settings(max_examples=examples(40), deadline=None)
@given(rows=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=6))
def test_the_file_of_rejects_gives_the_same_rejects_again(rows: list[dict[str, str]]):
    def run(path: Path) -> None:
        first = _rejects(path)
        path.unlink()
        file = RejectsFile(path)
        file.write(first, INFO)
        file.close()
        assert [_content(reject) for reject in _rejects(path)] == [*map(_content, first)]

    _with_file(csv_text(rows), run)


INFO = SourceInfo(name="orders.csv", format="csv", columns=SHOPIFY, encoding="utf-8", delimiter=",")


def _rejects(path: Path) -> list[Reject]:
    if not path.exists():
        return []
    job = RowJob(path, BackfillSettings(encoding="utf-8"), preset="shopify")
    return [reject for block in job.blocks() for reject in block.rejects]


def _content(reject: Reject) -> tuple[str, str, list[list[Any]]]:
    rows = [[*row][: len(SHOPIFY)] for row in reject.rows]
    return reject.column, reject.reason, rows


def _with_file(text: str, run: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orders.csv"
        path.write_text(text, encoding="utf-8", newline="")
        run(path)
