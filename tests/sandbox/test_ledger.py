"""The counts of the ledger."""

from __future__ import annotations

from anytrack_async.sandbox.ledger import Ledger

SERVICES = ("one", "two")


def test_an_empty_ledger_has_a_page_for_every_service():
    page = {
        "requests": 0,
        "accepted": 0,
        "unique": 0,
        "duplicates": 0,
        "rejected": {},
        "faults": {},
    }

    assert Ledger(SERVICES).as_dict() == {"one": page, "two": page}


def test_accepted_is_unique_and_duplicates():
    ledger = Ledger(SERVICES)
    for new in (True, False, False):
        ledger.pages["one"].accept("e1", new=new)

    page = ledger.as_dict(ids=True)["one"]

    assert (page["accepted"], page["unique"], page["duplicates"]) == (3, 1, 2)
    assert page["ids"] == {"e1": 3}


def test_ids_belong_to_the_service_that_accepted_them():
    ledger = Ledger(SERVICES)
    ledger.pages["one"].accept("e1", new=True)
    ledger.pages["two"].accept("e2", new=True)
    ledger.pages["one"].accept("e2", new=True)

    report = ledger.as_dict(ids=True)

    assert report["one"]["ids"] == {"e1": 1, "e2": 1}
    assert report["two"]["ids"] == {"e2": 1}


def test_a_conversion_without_an_id_is_counted():
    ledger = Ledger(SERVICES)
    ledger.pages["one"].accept(None, new=True)

    page = ledger.as_dict(ids=True)["one"]

    assert page["accepted"] == 1
    assert page["ids"] == {}
