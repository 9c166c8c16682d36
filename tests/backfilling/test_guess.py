"""Files that no preset knows: what is sure is proposed, money and time are asked for."""

from __future__ import annotations

import tomllib

import pytest

from anytrack_async.backfilling.guess import guess_mapping
from anytrack_async.backfilling.mapping import to_mapping


def test_a_clear_file_gives_a_mapping_that_works():
    guess = guess_mapping(
        ("Order ID", "Amount", "Currency", "Created At", "E-Mail", "gclid"),
        [("1", "12.50", "EUR", "2026-05-01T10:00:00Z", "x@example.com", "g1")],
    )

    assert guess.usable
    assert guess.columns == {
        "order_id": "Order ID",
        "currency": "Currency",
        "customer.email": "E-Mail",
        "clicks.gclid": "gclid",
        "timestamp": "Created At",
    }
    assert to_mapping(tomllib.loads(guess.toml)) == guess.mapping


def test_two_columns_with_money_are_a_question():
    guess = guess_mapping(("order_id", "Total", "Subtotal", "currency", "paid_at"))

    (question,) = guess.questions
    assert (question.topic, question.required) == ("amount", True)
    assert question.candidates == ["Total", "Subtotal"]
    assert not guess.usable
    assert not guess.mapping.amounts
    assert '# gross = "Total"\n# gross = "Subtotal"' in guess.toml


def test_two_columns_with_times_are_a_question():
    guess = guess_mapping(("order_id", "Total", "currency", "paid_at", "created_at"))

    (question,) = guess.questions
    assert (question.topic, question.candidates) == ("time", ["paid_at", "created_at"])
    assert "timestamp" not in guess.columns


def test_day_and_month_are_told_apart_only_by_a_day_after_the_twelfth():
    columns = ("order", "total", "currency", "order date")

    unclear = guess_mapping(columns, [("1", "5.00", "EUR", "05/06/2026 10:00:00")])
    clear = guess_mapping(columns, [("1", "5.00", "EUR", "25/06/2026 10:00:00")])

    assert [question.topic for question in unclear.questions] == ["time format"]
    assert clear.mapping.formats == ("%d/%m/%Y %H:%M:%S",)
    assert [question.topic for question in clear.questions] == ["timezone"]


def test_the_decimal_sign_is_proposed_only_if_the_cells_show_it():
    columns = ("order", "total", "currency", "paid at")
    time = "2026-05-01T10:00:00Z"

    comma = guess_mapping(columns, [("1", "1.234,50", "EUR", time)])
    unclear = guess_mapping(columns, [("1", "1,234", "EUR", time)])

    assert comma.mapping.decimal == ","
    assert [question.topic for question in unclear.questions] == ["decimal"]


def test_words_for_paid_become_a_rule_and_others_a_question():
    columns = ("order", "total", "currency", "paid at", "Status")
    time = "2026-05-01T10:00:00Z"

    paid = guess_mapping(columns, [("1", "5", "EUR", time, "Paid"), ("2", "5", "EUR", time, "new")])
    other = guess_mapping(columns, [("1", "5", "EUR", time, "OK")])

    (rule,) = paid.mapping.rules
    assert (rule.columns, rule.keep) == (("Status",), {"paid"})
    assert paid.usable
    assert [question.topic for question in other.questions] == ["status"]
    assert not other.usable


def test_answered_questions_make_the_proposal_whole():
    guess = guess_mapping(("order", "total", "price", "paid at", "created at"))

    answers = ('gross = "total"', 'timestamp = "paid at"', 'currency = "EUR"')
    text = guess.toml
    for answer in answers:
        assert f"# {answer}" in text
        text = text.replace(f"# {answer}", answer, 1)
    mapping = to_mapping(tomllib.loads(text))

    assert mapping.amounts["gross"].plus == ("total",)
    assert mapping.columns["timestamp"] == ("paid at",)
    assert mapping.currency == "EUR"


@pytest.mark.parametrize(
    ("columns", "row", "order", "email"),
    [
        (
            ("Numéro de commande", "Montant", "Devise", "Date de commande", "Adresse e-mail"),
            ("1", "12,50", "EUR", "2026-05-01T10:00:00Z", "x@example.com"),
            "Numéro de commande",
            "Adresse e-mail",
        ),
        (
            ("order_id", "total", "currency", "ordered_at", "email"),  # of the README's example
            ("1", "12,50", "EUR", "2026-05-01T10:00:00Z", "x@example.com"),
            "order_id",
            "email",
        ),
        (
            ("Bestelnummer", "Totaal", "Valuta", "Besteldatum", "E-mailadres"),
            ("1", "12,50", "EUR", "2026-05-01T10:00:00Z", "x@example.com"),
            "Bestelnummer",
            "E-mailadres",
        ),
        (
            ("Número de pedido", "Importe", "Moneda", "Fecha", "Correo electrónico"),
            ("1", "12,50", "EUR", "2026-05-01T10:00:00Z", "x@example.com"),
            "Número de pedido",
            "Correo electrónico",
        ),
        (
            ("Bestellnummer", "Gesamtbetrag", "Währung", "Bezahlt am", "E-Mail"),
            ("1", "12,50", "EUR", "2026-05-01T10:00:00Z", "x@example.com"),
            "Bestellnummer",
            "E-Mail",
        ),
    ],
)
def test_other_languages_are_understood(columns, row, order, email):
    guess = guess_mapping(columns, [row])

    assert guess.usable
    assert (guess.columns["order_id"], guess.columns["customer.email"]) == (order, email)
    assert set(guess.columns) == {"order_id", "currency", "customer.email", "timestamp"}
    assert guess.mapping.decimal == ","


@pytest.mark.parametrize(
    "columns", [("Bruto", "Kosten", "Net"), ("Total TTC", "Total HT"), ("Totale", "Totale netto")]
)
def test_gross_and_net_are_a_question_in_every_language(columns):
    guess = guess_mapping(("Order ID", *columns, "currency", "paid at"))

    (question,) = guess.questions
    assert (question.topic, len(question.candidates)) == ("amount", 2)


def test_columns_with_unknown_names_are_candidates_by_their_cells():
    guess = guess_mapping(
        ("Nr", "Wann", "Summ", "Stueck", "Waehrung"),
        [("7", "25.06.2026 14:05", "12,50", "3", "EUR"), ("8", "soon", "9,00", "1", "EUR")]
        + [("9", "26.06.2026 14:05", "1.234,50", "2", "EUR")] * 8,
    )

    candidates = {question.topic: question.candidates for question in guess.questions}
    assert candidates["time"] == ["Wann"]
    assert candidates["amount"] == ["Summ"]
    assert "timestamp" not in guess.columns
    assert not guess.mapping.amounts


@pytest.mark.parametrize(
    ("cells", "day_first", "topics"),
    [
        (("Jun 25, 2026 2:05 PM", "Jul 1, 2026 9:00 AM"), None, ["timezone"]),
        (("25/06/2026 2:05 PM", "05/06/2026 9:00 AM"), True, ["timezone"]),
        (("06/25/2026 2:05 PM", "06/05/2026 9:00 AM"), False, ["timezone"]),
        (("06/05/2026 2:05 PM", "06/07/2026 9:00 AM"), None, ["day order", "timezone"]),
        (("25/06/2026 14:05 +0200",), True, []),
    ],
)
def test_written_times_are_proposed_and_their_order_only_if_a_cell_shows_it(
    cells, day_first, topics
):
    guess = guess_mapping(
        ("order", "total", "currency", "paid at"), [("1", "5", "EUR", cell) for cell in cells]
    )

    assert guess.mapping.formats == ("written",)
    assert guess.mapping.day_first is day_first
    assert [question.topic for question in guess.questions] == topics
    if "day order" in topics:
        assert "# day_first = true\n# day_first = false" in guess.toml


def test_a_few_cells_without_a_number_leave_the_amount_what_it_is():
    rows = [(str(n), "12.50", "EUR", "2026-05-01T10:00:00Z") for n in range(4)]
    columns = ("Order ID", "Total", "Currency", "Created At")

    for cell in ("free", "n/a", "-", " "):
        guess = guess_mapping(columns, [*rows, ("9", cell, "EUR", "2026-05-01T10:00:00Z")])
        assert guess.usable, cell
        assert guess.mapping.amounts["gross"].plus == ("Total",)


def test_a_column_of_words_is_no_amount_whatever_its_name():
    columns = ("Order ID", "Total", "Currency", "Created At")
    cells = ("free", "paid", "none", "12.50")

    guess = guess_mapping(columns, [("1", x, "EUR", "2026-05-01T10:00:00Z") for x in cells])

    assert [question.topic for question in guess.questions] == ["amount"]


def test_two_columns_with_money_and_words_are_still_a_question():
    cells = ("12.50", "13.50", "14.50", "free")

    guess = guess_mapping(("order_id", "Total", "Subtotal"), [("1", x, x) for x in cells])

    assert guess.questions[0].candidates == ["Total", "Subtotal"]
