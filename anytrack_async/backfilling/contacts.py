"""`ContactTable`: HubSpot's export of contacts, to find the customers of deals in.

A million contacts in a dictionary would take 400 MB. They are in a temporary database of SQLite,
from which a contact takes 10 µs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from os import PathLike, fspath
from typing import Any, Final

from anytrack_async.backfilling.getters import positions_of
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.backfilling.sources import open_source
from anytrack_async.errors import ConfigurationError

# All SQL of this module. A database without a name is a temporary file, which SQLite removes.
_CREATE = "CREATE TABLE contacts (id TEXT PRIMARY KEY, fields TEXT NOT NULL) WITHOUT ROWID"
_ADD = "INSERT OR IGNORE INTO contacts (id, fields) VALUES (?, ?)"
_FIND = "SELECT fields FROM contacts WHERE id = ?"

_SEPARATOR = "\x1f"
_ID: Final = ("Record ID", "Datensatz-ID", "ID de registro", "ID do registro")
_FIELDS: Final = {
    "email": ("Email", "E-Mail", "E-Mail-Adresse", "Correo", "Correo electrónico", "E-mail"),
    "phone": ("Phone Number", "Mobile Phone Number", "Telefonnummer", "Número de teléfono"),
    "first_name": ("First Name", "Vorname", "Nombre", "Nome"),
    "last_name": ("Last Name", "Nachname", "Apellidos", "Sobrenome"),
    "city": ("City", "Stadt", "Ciudad", "Cidade"),
    "state": ("State/Region", "Bundesland/Region"),
    "postal_code": ("Postal Code", "Postleitzahl", "Código postal"),
    "country": ("Country/Region Code", "Country/Region", "Country"),
}


class ContactTable:
    """The contacts of a file, by their record id. Opening it reads the whole file; blocks.

    Args:
        path: of the export of contacts, in any format that a back-fill reads.

    Raises:
        ConfigurationError: the file is not an export of contacts.
        OSError: it cannot be read.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2048"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute(_CREATE)
        with open_source(fspath(path), BackfillSettings(), None) as source:
            reader = source.reader
            for block in reader.blocks():
                positions = _positions(block.columns, reader.info.name)
                self._database.execute("BEGIN")
                self._database.executemany(_ADD, _records(positions, block.rows))
                self._database.execute("COMMIT")

    def __del__(self) -> None:
        if database := getattr(self, "_database", None):
            database.close()

    def find(self, contact_id: str) -> dict[str, Any]:
        """Return the fields of a `Customer` that the contact has; none if it is not in the file."""
        row = self._database.execute(_FIND, (contact_id,)).fetchone()
        if row is None:
            return {}
        values = row[0].split(_SEPARATOR)
        return {name: value for name, value in zip(_FIELDS, values, strict=True) if value}


def _positions(columns: Sequence[str], name: str) -> list[int | None]:
    """Return the position of the id and of each field; None for a column that is missing."""
    columns_by_name = positions_of(columns)

    def position(names: Sequence[str]) -> int | None:
        return next(
            (
                columns_by_name[key][0]
                for text in names
                if (key := text.casefold()) in columns_by_name
            ),
            None,
        )

    positions = [position(_ID), *(position(names) for names in _FIELDS.values())]
    if positions[0] is None or positions[1] is None:
        raise ConfigurationError(
            f"{name} is not HubSpot's export of contacts: it has no column Record ID or Email"
        )
    return positions


def _records(
    positions: Sequence[int | None], rows: Sequence[Sequence[Any]]
) -> Iterator[tuple[str, str]]:
    for row in rows:
        cells = [
            "" if index is None else str(row[index] or "").replace(_SEPARATOR, " ").strip()
            for index in positions
        ]
        if cells[0]:
            yield cells[0], _SEPARATOR.join(cells[1:])
