"""HubSpot: CRM → Deals → Export; the contacts' e-mail addresses are in an export of their own.

A million contacts in a dictionary would take 400 MB. So they are in a temporary database of SQLite,
which finds a contact in 10 µs.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike, fspath
from typing import Any, Final

from anytrack_async.backfilling.getters import positions_of
from anytrack_async.backfilling.mapping import FileMapping, Finish, RowRule, either
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.backfilling.sources import open_source
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.customer import Customer

_CONTACT_IDS: Final = ("Associated Contact IDs", "Zugehörige Kontakt-IDs")
_CONTACTS: Final = ("Associated Contact", "Zugehöriger Kontakt")
_WITH_EMAIL = re.compile(r"(.*?)\s*\(([^()\s]+@[^()\s]+)\)")


def _with_contacts(settings: BackfillSettings) -> Finish:
    """Return a function that adds the deal's first contact as its customer."""
    table = ContactTable(settings.contacts) if settings.contacts is not None else None

    def finish(fields: dict[str, Any], cell: Callable[[str], Any]) -> None:
        customer: dict[str, Any] = {}
        for column in _CONTACT_IDS:
            ids = str(cell(column) or "").replace(",", ";").split(";")
            if table is not None and ids[0].strip():
                customer = table.find(ids[0].strip())
        if not customer:
            customer = _stated_contact(cell)
        if customer:
            fields["customer"] = Customer(**customer)

    return finish


def _stated_contact(cell: Callable[[str], Any]) -> dict[str, Any]:
    """Return the customer in ``Jane Doe (jane@example.com);…``; empty if it is only a name."""
    for column in _CONTACTS:
        match = _WITH_EMAIL.match(str(cell(column) or ""))
        if match:
            first, _, last = match[1].rpartition(" ")
            return {"email": match[2], "first_name": first, "last_name": last}
    return {}


def _in_language(
    language: str, columns: Mapping[str, tuple[str, ...]], *, notes: tuple[str, ...] = ()
) -> FileMapping:
    """Return the mapping of a file with *columns*: field → names in *language*."""
    return FileMapping(
        name="hubspot-deals",
        title=f"HubSpot: CRM → Deals → Export, {language}",
        page="https://knowledge.hubspot.com/import-and-export/export-records",
        signature=(columns["id"], columns["name"], columns["stage"], columns["amount"]),
        columns={
            "order_id": columns["id"],
            "timestamp": columns["closed"],
            "currency": columns["currency"],
            "custom_data.deal_name": columns["name"],
            "custom_data.pipeline": "Pipeline",
        },
        amounts=either(*columns["amount"]),
        rules=(RowRule(columns=columns["stage"], keep=_WON, keep_setting="won", loose=True),),
        formats=("iso", "written"),
        prepare=_with_contacts,
        adds_only=True,
        notes=notes,
    )


_WON: Final = (
    *("Closed Won", "Abgeschlossen und gewonnen", "Gewonnen", "Cierre ganado", "Ganado"),
    *("Fechado ganho", "Ganho", "Conclu gagné", "Fermé gagné", "Gagné"),
)

ENGLISH = _in_language(
    "in English",
    {
        "id": ("Record ID", "Deal ID"),
        "name": ("Deal Name",),
        "stage": ("Deal Stage",),
        "amount": ("Amount",),
        "closed": ("Close Date",),
        "currency": ("Currency",),
    },
    notes=(
        (
            "`--won` names other stages than Closed Won, by label or internal id: `Closed "
            "Won`, `closedwon` and `Closed Won (Sales Pipeline)` are the same."
        ),
        (
            "Close dates are in the portal's zone, which the file does not state: "
            "`--timezone`. Without a column `Currency`, state `--currency`."
        ),
        (
            "The file names contacts, but has no e-mail addresses. With `--contacts` and the "
            "export of contacts, the first of the `Associated Contact IDs` is the customer."
        ),
    ),
)

INTERNAL = _in_language(
    "internal names",
    {
        "id": ("hs_object_id", "Record ID"),
        "name": ("dealname",),
        "stage": ("dealstage",),
        "amount": ("amount",),
        "closed": ("closedate",),
        "currency": ("deal_currency_code",),
    },
)

GERMAN = _in_language(
    "in German",
    {
        "id": ("Datensatz-ID",),
        "name": ("Deal-Name", "Dealname"),
        "stage": ("Deal-Phase", "Dealphase"),
        "amount": ("Betrag",),
        "closed": ("Abschlussdatum",),
        "currency": ("Währung",),
    },
)

SPANISH = _in_language(
    "in Spanish",
    {
        "id": ("ID de registro",),
        "name": ("Nombre del negocio",),
        "stage": ("Etapa del negocio",),
        "amount": ("Valor", "Importe", "Cantidad"),
        "closed": ("Fecha de cierre",),
        "currency": ("Moneda", "Divisa"),
    },
)

PORTUGUESE = _in_language(
    "in Portuguese",
    {
        "id": ("ID do registro",),
        "name": ("Nome do negócio",),
        "stage": ("Etapa do negócio",),
        "amount": ("Valor",),
        "closed": ("Data de fechamento",),
        "currency": ("Moeda",),
    },
)

FRENCH = _in_language(
    "in French",
    {
        "id": ("ID d'enregistrement", "ID de fiche d'informations"),
        "name": ("Nom de la transaction",),
        "stage": ("Phase de la transaction",),
        "amount": ("Montant",),
        "closed": ("Date de fermeture",),
        "currency": ("Devise",),
    },
)

CONTACTS = FileMapping(
    name="hubspot-contacts",
    title="HubSpot: CRM → Contacts → Export",
    signature=("Record ID", "First Name", "Last Name", "Email"),
    absent=("Deal Name", "Deal Stage", "Amount"),
    refusal=(
        "it is HubSpot's export of contacts, which has no deals; read the export of deals, and "
        "state this file as its contacts: --contacts FILE, or contacts=… in Python"
    ),
)

PRESETS = (ENGLISH, INTERNAL, GERMAN, SPANISH, PORTUGUESE, FRENCH, CONTACTS)


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
        """Return the contact as fields of a `Customer`; empty if the contact is not in the file."""
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
