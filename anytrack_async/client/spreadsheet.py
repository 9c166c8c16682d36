"""Cells that a spreadsheet would run as a formula, and the apostrophe that keeps it from that.

Used by everything that writes or reads CSV: exports, dead letters, files of rejected rows.

Source: OWASP, "CSV Injection".
"""

from __future__ import annotations

import re

# A spreadsheet runs a cell that starts with one of these as a formula; with East Asian settings in
# full width, too. Some skip whitespace and invisible characters before it.
_SIGNS = (
    "=+@-" + "\uff1d\uff0b\uff20\uff0d" + "\ufe66\ufe62\ufe6b\ufe63" + "\u207c\u207a\u207b\u2212"
)
_INVISIBLE = (
    r"\s\x00-\x1f\x7f-\xa0\xad\u061c\u115f\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
)
is_formula = re.compile(rf"[\t\r\n]|[{_INVISIBLE}]*[{re.escape(_SIGNS)}]").match
"""Whether a cell begins as a formula does."""

_is_escapable = re.compile(rf"'*(?:[\t\r\n]|[{_INVISIBLE}]*[{re.escape(_SIGNS)}])").match


def with_escape(cell: str) -> str:
    """Return *cell* so that no spreadsheet runs it: ``=1+1`` becomes ``'=1+1``.

    A cell that begins with an apostrophe and a formula gets another one, so that `without_escape`
    returns every cell as it was.
    """
    return f"'{cell}" if _is_escapable(cell) else cell


def without_escape(cell: str) -> str:
    """Return the cell of which `with_escape` made *cell*."""
    return cell[1:] if cell[:1] == "'" and _is_escapable(cell) else cell
