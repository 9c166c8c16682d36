"""HubSpot: CRM → Deals → Export; the contacts' e-mail addresses are in an export of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from anytrack_async.backfilling.contacts import ContactTable
from anytrack_async.backfilling.mapping import FileMapping, Finish, RowRule, either
from anytrack_async.backfilling.settings import BackfillSettings
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
    """Return the customer in ``Jane Doe (jane@example.com);…``; nothing if it is only a name."""
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
