"""HubSpot: CRM → Deals → Export; the contacts' e-mail addresses are in an export of their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from anytrack_async.backfilling.contacts import ContactTable
from anytrack_async.backfilling.mapping import FileMapping, Finish, RowRule
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


DEALS = FileMapping(
    name="hubspot-deals",
    title="HubSpot: CRM → Deals → Export",
    page="https://knowledge.hubspot.com/import-and-export/export-records",
    signature=(
        ("Record ID", "Datensatz-ID", "ID de registro", "ID do registro"),
        ("Deal Name", "Deal-Name", "Dealname", "Nombre del negocio", "Nome do negócio"),
        ("Deal Stage", "Deal-Phase", "Dealphase", "Etapa del negocio", "Etapa do negócio"),
        ("Amount", "Betrag", "Valor", "Importe", "Cantidad"),
    ),
    columns={
        "order_id": ("Record ID", "Datensatz-ID", "ID de registro", "ID do registro"),
        "timestamp": ("Close Date", "Abschlussdatum", "Fecha de cierre", "Data de fechamento"),
        "currency": ("Currency", "Währung", "Moneda", "Moeda"),
        "custom_data.deal_name": (
            *("Deal Name", "Deal-Name", "Dealname", "Nombre del negocio", "Nome do negócio"),
        ),
        "custom_data.pipeline": "Pipeline",
    },
    amounts=("Amount", "Betrag", "Valor", "Importe", "Cantidad"),
    rules=(
        RowRule(
            columns=(
                *("Deal Stage", "Deal-Phase", "Dealphase", "Etapa del negocio"),
                "Etapa do negócio",
            ),
            keep=(
                *("Closed Won", "Abgeschlossen und gewonnen", "Gewonnen", "Cierre ganado"),
                *("Ganado", "Fechado ganho", "Ganho"),
            ),
            keep_setting="won",
            loose=True,
        ),
    ),
    formats=("iso", "written"),
    prepare=_with_contacts,
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
            "The file names contacts, but has no e-mail addresses. With `contacts=…`, the "
            "path of the export of contacts, the first of the `Associated Contact IDs` is "
            "the customer."
        ),
    ),
)

CONTACTS = FileMapping(
    name="hubspot-contacts",
    title="HubSpot: CRM → Contacts → Export",
    signature=("Record ID", "First Name", "Last Name", "Email"),
    absent=("Deal Name", "Deal Stage", "Amount"),
    refusal=(
        "it is HubSpot's export of contacts, which has no deals; read the export of deals, and "
        "state this file as contacts=…"
    ),
)

PRESETS = (DEALS, CONTACTS)
