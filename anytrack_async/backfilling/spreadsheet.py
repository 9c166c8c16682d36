"""The columns of a file of rejected rows, whose cells no spreadsheet runs as a formula."""

from __future__ import annotations

from typing import Final

from anytrack_async.client.spreadsheet import (
    with_escape as with_escape,
)
from anytrack_async.client.spreadsheet import (
    without_escape as without_escape,
)

REJECT_COLUMNS: Final = ("_line", "_column", "_reason")
"""Columns of a file of rejected rows, behind those of the original file."""

TEXT_COLUMN: Final = "_text"
"""Column of a rejected line that is not JSON: its text."""
