"""Orders with a row for each line item: consecutive rows of the same order are one conversion."""

from __future__ import annotations

from collections.abc import Sequence

from anytrack_async.backfilling.blocks import Block
from anytrack_async.backfilling.compiled import RowMapper
from anytrack_async.backfilling.mapped import Group
from anytrack_async.models.missing import is_missing


def grouped(
    block: Block, mapper: RowMapper, pending: list[Group]
) -> tuple[list[Group], list[Group]]:
    """Return the complete orders up to the end of *block*, and the last one, which may go on.

    Rows ``1001, 1001, 1002`` are the order 1001 with two line items, which is complete, and 1002.
    """
    key_of = mapper.fold_key
    if key_of is None:
        return _single_rows(block), []
    groups = [(line, row, list(further_rows)) for line, row, further_rows in pending]
    current = key_of(groups[-1][1]) if groups else None
    for line, row in zip(block.lines, block.rows, strict=True):
        key = key_of(row)
        if key and key == current and not is_missing(key) and mapper.continues(groups[-1][1], row):
            groups[-1][2].append(row)
        else:
            groups.append((line, row, []))
            current = key
    complete: list[Group] = list(groups)
    if _ends_with_bad_row(block, complete):
        return complete, []
    return complete[:-1], complete[-1:]


def _single_rows(block: Block) -> list[Group]:
    return [(line, row, ()) for line, row in zip(block.lines, block.rows, strict=True)]


def _ends_with_bad_row(block: Block, groups: Sequence[Group]) -> bool:
    """Return whether a bad row stands behind the last of *groups*: then that order is complete."""
    return bool(groups and block.bad) and block.bad[-1].line > groups[-1][0]


def row_count(groups: Sequence[Group]) -> int:
    """Return the number of rows in *groups*."""
    return sum(1 + len(further_rows) for _, _, further_rows in groups)
