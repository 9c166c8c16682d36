"""PayPal: download of activities.

Header, dates and amounts follow the account's language, so there is a mapping for each language.
English accounts write 05/06/2026 in both orders, so `BackfillSettings.day_first` decides there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from anytrack_async.backfilling.mapping import FileMapping, Finish, RowRule, either
from anytrack_async.backfilling.rules import REFUND_EVENT

_Names: TypeAlias = Mapping[str, str | tuple[str, ...]]

ZONES: Final = {
    "PST": "-08:00",
    "PDT": "-07:00",
    "MST": "-07:00",
    "MDT": "-06:00",
    "EST": "-05:00",
    "EDT": "-04:00",
    "AKST": "-09:00",
    "AKDT": "-08:00",
    "HST": "-10:00",
    "GMT": "+00:00",
    "UTC": "+00:00",
    "WET": "+00:00",
    "WEST": "+01:00",
    "CET": "+01:00",
    "CEST": "+02:00",
    "MEZ": "+01:00",
    "MESZ": "+02:00",
    "EET": "+02:00",
    "EEST": "+03:00",
    "MSK": "+03:00",
    "SAST": "+02:00",
    "AEST": "+10:00",
    "AEDT": "+11:00",
    "ACST": "+09:30",
    "ACDT": "+10:30",
    "AWST": "+08:00",
    "NZST": "+12:00",
    "NZDT": "+13:00",
    "JST": "+09:00",
    "HKT": "+08:00",
    "SGT": "+08:00",
    "BRT": "-03:00",
}
"""Abbreviations with one meaning. CST, BST and IST are left out: each means several zones."""

_DEPOSITS: Final = (
    *("Bank Deposit to PP Account", "Bank Deposit to PP Account (Obselete)", "General Deposit"),
    *("General Credit Card Deposit", "General Credit Card Withdrawal", "User Initiated Withdrawal"),
    *("General Withdrawal", "General Currency Conversion", "Currency Conversion", "Transfer"),
    *("Shopping Cart Item", "Account Hold for Open Authorization", "Hold on Available Balance"),
    *("Reversal of General Account Hold", "General Account Correction", "Authorization"),
    *("Bankgutschrift auf PayPal-Konto", "Allgemeine Währungsumrechnung", "Währungsumrechnung"),
    *("Allgemeine Abbuchung", "Von Nutzer eingeleitete Abbuchung", "Allgemeine Autorisierung"),
    *("Einbehaltung für offene Autorisierung", "Rückbuchung allgemeiner Kontoeinbehaltung"),
    *("Virement bancaire sur le compte PayPal", "Conversion de devise standard"),
    *("Conversione di valuta generica", "Conversión de divisas general", "Valutaomrekening"),
)
_REFUNDS: Final = (
    *("Payment Refund", "Refund", "Payment Reversal", "Reversal", "Chargeback", "Partial Refund"),
    *("Rückzahlung", "Zahlungsrückerstattung", "Rückbuchung", "Zahlungsrückbuchung"),
    *("Remboursement", "Remboursement de paiement", "Annulation de paiement"),
    *("Rimborso", "Rimborso del pagamento", "Rimborso pagamento"),
    *("Reembolso", "Reembolso de pago", "Reembolso de pagamento", "Terugbetaling"),
)

_ENGLISH: Final[_Names] = {
    "date": "Date",
    "time": "Time",
    "zone": ("TimeZone", "Time Zone"),
    "name": "Name",
    "type": "Type",
    "status": "Status",
    "currency": "Currency",
    "gross": "Gross",
    "fee": "Fee",
    "net": "Net",
    "email": "From Email Address",
    "id": "Transaction ID",
    "invoice": ("Invoice Number", "Invoice ID"),
    "custom": "Custom Number",
    "title": "Item Title",
    "item": "Item ID",
    "quantity": "Quantity",
    "city": "Town/City",
    "state": (
        "State/Province/Region/County/Territory/Prefecture/Republic",
        "State/Province",
    ),
    "postal_code": "Zip/Postal Code",
    "country": ("Country Code", "Country"),
    "phone": "Contact Phone Number",
    "note": ("Note", "Subject"),
    "impact": "Balance Impact",
}
_GERMAN: Final[_Names] = {
    "date": "Datum",
    "time": "Uhrzeit",
    "zone": "Zeitzone",
    "name": "Name",
    "type": ("Typ", "Beschreibung"),
    "status": "Status",
    "currency": "Währung",
    "gross": "Brutto",
    "fee": ("Gebühr", "Entgelt"),
    "net": "Netto",
    "email": "Absender E-Mail-Adresse",
    "id": "Transaktionscode",
    "invoice": "Rechnungsnummer",
    "custom": ("Zollnummer", "Individuelle Nummer"),
    "title": "Artikelbezeichnung",
    "item": "Artikelnummer",
    "quantity": ("Anzahl", "Menge"),
    "city": "Ort",
    "state": "Bundesland",
    "postal_code": "PLZ",
    "country": ("Ländervorwahl", "Land"),
    "phone": "Telefon",
    "note": ("Hinweis", "Betreff"),
    "impact": "Auswirkung auf Guthaben",
}
_FRENCH: Final[_Names] = {
    "date": "Date",
    "time": "Heure",
    "zone": "Fuseau horaire",
    "name": "Nom",
    "type": "Type",
    "status": ("État", "Etat"),
    "currency": "Devise",
    "gross": ("Avant commission", "Brut"),
    "fee": ("Commission", "Frais"),
    "net": "Net",
    "email": ("De l'adresse email", "Adresse email de l'expéditeur"),
    "id": ("Numéro de transaction", "ID de transaction"),
    "invoice": "Numéro de facture",
    "custom": "Numéro de client",
    "title": "Titre de l'objet",
    "item": "Numéro de l'objet",
    "quantity": "Quantité",
    "city": "Ville",
    "state": ("État/Province/Région/Comté/Territoire/Préfecture/République", "Région"),
    "postal_code": "Code postal",
    "country": ("Indicatif pays", "Pays"),
    "phone": "Numéro de téléphone du contact",
    "note": ("Remarque", "Objet"),
    "impact": "Impact sur le solde",
}
_ITALIAN: Final[_Names] = {
    "date": "Data",
    "time": ("Ora", "Orario"),
    "zone": "Fuso orario",
    "name": "Nome",
    "type": "Tipo",
    "status": "Stato",
    "currency": "Valuta",
    "gross": "Lordo",
    "fee": "Tariffa",
    "net": "Netto",
    "email": "Indirizzo email mittente",
    "id": ("Codice transazione", "ID transazione"),
    "invoice": ("Numero fattura", "Numero ricevuta"),
    "custom": "Numero personalizzato",
    "title": "Titolo oggetto",
    "item": "ID oggetto",
    "quantity": "Quantità",
    "city": "Città",
    "state": "Provincia",
    "postal_code": "CAP",
    "country": ("Codice paese", "Paese"),
    "phone": "Numero di telefono",
    "note": ("Messaggio", "Oggetto"),
    "impact": "Impatto sul saldo",
}
_SPANISH: Final[_Names] = {
    "date": "Fecha",
    "time": "Hora",
    "zone": "Zona horaria",
    "name": "Nombre",
    "type": "Tipo",
    "status": "Estado",
    "currency": ("Divisa", "Moneda"),
    "gross": "Bruto",
    "fee": ("Comisión", "Tarifa"),
    "net": "Neto",
    "email": (
        "Correo electrónico del remitente",
        "Dirección de correo electrónico del remitente",
    ),
    "id": ("Id. de transacción", "ID de transacción", "Identificador de la transacción"),
    "invoice": ("Número de factura", "Número de recibo"),
    "custom": "Número personalizado",
    "title": "Título del artículo",
    "item": "Id. del artículo",
    "quantity": "Cantidad",
    "city": ("Ciudad", "Población"),
    "state": ("Provincia", "Estado/Provincia"),
    "postal_code": "Código postal",
    "country": ("Prefijo de país", "País"),
    "phone": "Teléfono de contacto",
    "note": ("Nota", "Asunto"),
    "impact": ("Impacto en el saldo", "Repercusión en saldo"),
}

_COMPLETED: Final = (
    *("Completed", "Abgeschlossen", "Terminé", "Effectué", "Completata", "Completato"),
    *("Completado", "Completada", "Paid"),
)
_CREDIT: Final = (
    "Credit",
    "Haben",
    "Guthaben",
    "Crédit",
    "Accredito",
    "Credito",
    "Abono",
    "Crédito",
)


def _refund_id(id_columns: tuple[str, ...]) -> Finish:
    """Return a function that gives a refund the id of its own transaction, not the invoice's.

    An order may be refunded in several parts.
    """

    def finish(fields: dict[str, Any], cell: Callable[[str], Any]) -> None:
        if fields.get("event_name") == REFUND_EVENT:
            fields["order_id"] = next((cell(name) for name in id_columns if cell(name)), None)

    return finish


def _fields(columns: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return each field of a conversion with the columns of the file that may hold it."""
    return {
        "order_id": columns["invoice"] + columns["id"],
        "date": columns["date"],
        "time": columns["time"],
        "zone": columns["zone"],
        "currency": columns["currency"],
        "customer.email": columns["email"],
        "customer.name": columns["name"],
        "customer.phone": columns["phone"],
        "customer.city": columns["city"],
        "customer.state": columns["state"],
        "customer.postal_code": columns["postal_code"],
        "customer.country": columns["country"],
        "items.id": columns["item"] + columns["title"],
        "items.title": columns["title"],
        "items.quantity": columns["quantity"],
        "custom_data.transaction_id": columns["id"],
    }


def _rules(columns: dict[str, tuple[str, ...]]) -> tuple[RowRule, ...]:
    """Return which rows are payments: completed, to the shop, and from a payer."""
    return (
        RowRule(columns=columns["status"], keep=_COMPLETED),
        RowRule(columns=columns["type"], drop=_DEPOSITS, refund=_REFUNDS),
        # The file has all movements of the account: the shop's own purchases are debits.
        RowRule(columns=columns["impact"], keep=_CREDIT, reason="not a credit to the balance"),
        RowRule(columns=columns["email"], drop=("",), reason="no payer: not a sale"),
    )


def _in_language(
    language: str,
    names: _Names,
    *,
    decimal: str,
    day_first: bool | None,
    notes: tuple[str, ...] = (),
) -> FileMapping:
    columns = {key: (name,) if isinstance(name, str) else name for key, name in names.items()}
    return FileMapping(
        name="paypal",
        title=f"PayPal: Activity → Download, in {language}",
        page="https://www.paypal.com/us/cshelp/article/how-do-i-download-my-transaction-history-help145",
        signature=(columns["id"], columns["gross"], columns["email"], columns["type"]),
        columns=_fields(columns),
        amounts={"gross": either(*columns["gross"]), "net": either(*columns["net"])},
        amount="gross",
        rules=_rules(columns),
        lift=columns["custom"] + columns["note"],
        formats=("written", "iso"),
        day_first=day_first,
        decimal=decimal,
        zones=ZONES,
        negative="money that was paid, not received",
        finish=_refund_id(columns["id"]),
        notes=notes,
    )


PRESETS = (
    _in_language(
        "English",
        _ENGLISH,
        decimal=".",
        # American accounts write the month first, British ones the day; the files look the same.
        day_first=None,
        notes=(
            (
                "The same file in German, French, Italian and Spanish is recognised, too; "
                "amounts and dates there are in the form of the language."
            ),
            (
                "English accounts write 05/06/2026 in both orders: such dates are rejected unless "
                "`--day-first` or `--month-first` is stated."
            ),
            (
                "`TimeZone` may be an offset, a name, or one of these abbreviations: "
                f"{', '.join(ZONES)}. Others have several meanings, and their rows are rejected."
            ),
            (
                "A refund has the id of its own `Transaction ID`, because an order may be "
                "refunded in parts."
            ),
        ),
    ),
    _in_language("German", _GERMAN, decimal=",", day_first=True),
    _in_language("French", _FRENCH, decimal=",", day_first=True),
    _in_language("Italian", _ITALIAN, decimal=",", day_first=True),
    _in_language("Spanish", _SPANISH, decimal=",", day_first=True),
)
