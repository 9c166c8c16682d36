"""Words of shops and services: names of columns, states and types, in several languages.

Names of columns are in lower case, without accents and without other signs than letters and
digits: ``E-Mail`` is ``email``, and ``Numéro de commande`` is ``numerodecommande``. Words that mean
different things in two languages, such as *nom*, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import ConversionType

SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "order_id": (
        *("orderid", "ordernumber", "orderno", "ordernr", "order", "transactionid", "txnid"),
        *("txid", "invoiceid", "invoicenumber", "invoice", "receipt"),
        *("bestellnummer", "bestellnr", "auftragsnummer", "numerodecommande", "numerocommande"),
        *("ndecommande", "commande", "bestelnummer", "ordernummer", "numerodepedido", "pedido"),
        *("numeropedido", "numeroordine", "numerodordine", "ordine", "numerodopedido"),
    ),
    "click_id": ("atclid", "clickid", "cid", "subid", "sub1"),
    "currency": (
        *("currencycode", "ordercurrency", "currency", "waehrung", "wahrung", "devise"),
        *("valuta", "moneda", "moeda"),
    ),
    "customer.email": (
        *("customeremail", "billingemail", "buyeremail", "emailaddress", "useremail", "email"),
        *("mail", "emailadresse", "adresseemail", "courriel", "emailadres", "correoelectronico"),
        *("correo", "indirizzoemail"),
    ),
    "customer.phone": (
        *("phonenumber", "billingphone", "customerphone", "telephone", "phone", "mobile"),
        *("telefon", "telefonnummer", "telefoon", "telefoonnummer", "telefono", "telefone"),
    ),
    "customer.first_name": (
        *("billingfirstname", "firstname", "givenname", "fname", "vorname", "prenom"),
        *("voornaam",),
    ),
    "customer.last_name": (
        *("billinglastname", "lastname", "surname", "familyname", "lname", "nachname"),
        *("nomdefamille", "achternaam", "apellidos", "apellido", "cognome", "sobrenome"),
    ),
    "customer.name": ("customername", "billingname", "fullname", "buyername"),
    "customer.city": (
        *("billingcity", "city", "town", "stadt", "ort", "ville", "plaats", "ciudad", "citta"),
        *("cidade",),
    ),
    "customer.postal_code": (
        *("billingpostcode", "billingzip", "postalcode", "postcode", "zipcode", "zip", "plz"),
        *("postleitzahl", "codepostal", "codigopostal", "cap", "cep"),
    ),
    "customer.state": ("billingstate", "province", "state", "region"),
    "customer.country": (
        *("billingcountry", "countrycode", "country", "land", "pays", "pais", "paese"),
    ),
    "customer.external_id": ("customerid", "userid", "kundennummer", "klantnummer"),
    "customer.fbc": ("fbc",),
    "customer.fbp": ("fbp",),
    "customer.fbclid": ("fbclid",),
    "ip_address": ("customeripaddress", "ipaddress", "clientip", "ip"),
    "user_agent": ("customeruseragent", "useragent", "browser"),
    "page_url": ("landingpage", "pageurl", "sourceurl"),
    "clicks.gclid": ("gclid",),
    "clicks.ttclid": ("ttclid",),
    "clicks.msclkid": ("msclkid",),
}
"""Field → names of its column, the best first."""

AMOUNTS: Final = (
    *("ordertotal", "grandtotal", "totalamount", "totalprice", "saleamount", "subtotal", "total"),
    *("amount", "revenue", "value", "sum", "payout", "commission", "gross", "net", "price"),
    *("summe", "betrag", "gesamt", "gesamtbetrag", "umsatz", "brutto", "netto", "preis"),
    *("montant", "prix", "totaal", "bedrag", "prijs", "bruto", "importe", "precio", "importo"),
    *("totale", "prezzo", "lordo", "valor", "preco"),
)
NOT_AMOUNTS: Final = (
    *("tax", "shipping", "discount", "refund", "fee", "currency", "count", "quantity"),
    *("steuer", "mwst", "versand", "rabatt", "erstatt", "livraison", "remise", "verzend"),
)
TIMES: Final = (
    *("paidat", "paiddate", "createdat", "createddate", "orderdate", "conversiontime", "eventtime"),
    *("orderedat", "ordertime", "purchasedat", "placedat", "conversiondate", "purchasedate"),
    *("timestamp", "datetime", "created", "date", "time"),
    *("datum", "bestelldatum", "bezahltam", "erstelltam", "uhrzeit", "datecommande"),
    *("datedecommande", "datedepaiement", "heure", "tijd", "fecha", "hora", "data", "ora"),
    *("dataordine", "datapedido", "datadopedido"),
)
STATUS: Final = (
    *("financialstatus", "paymentstatus", "orderstatus", "status", "state"),
    *("zahlungsstatus", "bestellstatus", "betaalstatus", "statut", "estado", "stato"),
    *("zustand", "situacao"),
)
PAID: Final = (
    *("paid", "completed", "complete", "succeeded", "success", "approved", "processing"),
    *("captured", "settled", "closed won", "bezahlt", "abgeschlossen", "payé", "payée", "paye"),
    *("terminé", "terminée", "betaald", "voltooid", "pagado", "pagada", "completado"),
    *("completada", "pagato", "completato", "pago", "concluído"),
)
"""States of an order that is paid, as they are written, in lower case."""


# Types of conversions, from the names that advertising services have for them

_NAME_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_TYPES: Final = {
    **dict.fromkeys(("purchase", "sale", "sales", "order", "rebill", "upsell"), "sale"),
    **dict.fromkeys(("lead", "leads"), "lead"),
    **dict.fromkeys(("signup", "registration", "register"), "signup"),
}


def type_of(name: str) -> ConversionType | None:
    """Return the type that a word in *name* states; None if none does.

    ``Purchase`` and ``Offline sale`` are sales, ``GenerateLead`` is a lead,
    ``CompleteRegistration`` and ``Sign-up`` are sign-ups.
    """
    words = [word.lower() for word in _NAME_WORDS.findall(name)]
    pairs = [first + second for first, second in pairwise(words)]
    types = (_TYPES[word] for word in (*words, *pairs) if word in _TYPES)
    kind = next(types, None)
    return ConversionType(kind) if kind else None


def add_type(fields: dict[str, Any], _: Callable[[str], Any]) -> None:
    """Replace the name of the conversion, in ``conversion_type``, by its type.

    A name without a word for a type becomes a custom event of that name. Used as
    `FileMapping.finish`.

    Raises:
        InvalidConversionError: it is a sale without an amount.
    """
    name = str(fields["conversion_type"]).strip()
    kind = type_of(name)
    if kind is None:
        fields["conversion_type"] = ConversionType.CUSTOM
        fields.setdefault("event_name", name)
        return
    fields["conversion_type"] = kind
    if kind is ConversionType.SALE and "revenue" not in fields:
        raise InvalidConversionError("revenue", "is missing: the row has no amount")
