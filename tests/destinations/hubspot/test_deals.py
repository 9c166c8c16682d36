import logging

import pytest

from anytrack_async.destinations.sink import (
    BatchRejected,
)
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.outcome import Outcome, Status

pytestmark = pytest.mark.asyncio


def statuses(outcomes):
    return [outcome and outcome.status.value for outcome in outcomes]


async def test_contact_deal_and_link_are_written_in_this_order(hs, sink, wire):
    outcomes = await sink.deliver([hs.sale("1", email="Jane@Example.com")])

    assert wire.ops == ["contacts", "deals", "link"]
    assert wire.calls[0].inputs[0]["id"] == "jane@example.com"
    assert wire.calls[1].inputs[0]["id"] == "sale:1"
    assert wire.calls[2].body == {
        "inputs": [{"from": {"id": "id of sale:1"}, "to": {"id": "id of jane@example.com"}}]
    }
    assert outcomes == [Outcome.delivered("id of sale:1")]


async def test_a_conversion_without_address_is_only_a_deal(hs, sink, wire):
    await sink.deliver([hs.sale()])

    assert wire.ops == ["deals"]


async def test_outcomes_follow_the_batch_whatever_the_order_of_results(hs, sink):
    outcomes = await sink.deliver([hs.sale(str(n), email=f"u{n}@b.example") for n in range(50)])

    assert [outcome.remote_id for outcome in outcomes] == [f"id of sale:{n}" for n in range(50)]


async def test_results_without_trace_ids_are_matched_by_the_unique_property(hs, sink, wire):
    def answer(call):
        return hs.reply(results=[hs.written(item, trace=False) for item in reversed(call.inputs)])

    wire.script("contacts", answer)
    wire.script("deals", answer)

    outcomes = await sink.deliver([hs.sale(str(n), email=f"u{n}@b.example") for n in range(9)])

    assert [outcome.remote_id for outcome in outcomes] == [f"id of sale:{n}" for n in range(9)]
    assert [link["to"]["id"] for link in wire.of("link")[0].inputs] == [
        f"id of u{n}@b.example" for n in range(9)
    ]


async def test_equal_event_ids_are_one_deal_with_an_outcome_each(hs, sink, wire):
    outcomes = await sink.deliver([hs.sale("1"), hs.sale("2"), hs.sale("1", revenue=5)])

    assert [item["id"] for item in wire.calls[0].inputs] == ["sale:1", "sale:2"]
    assert wire.calls[0].inputs[0]["properties"]["amount"] == "9.90"
    assert [outcome.remote_id for outcome in outcomes] == [
        "id of sale:1",
        "id of sale:2",
        "id of sale:1",
    ]


async def test_one_customer_with_several_conversions_is_one_contact(hs, sink, wire):
    customer = Customer(email="JANE@example.com", city="Bonn")
    await sink.deliver([hs.sale("1", email="jane@example.com"), hs.sale("2", customer=customer)])

    (contact,) = wire.of("contacts")[0].inputs
    assert contact["properties"] == {"email": "jane@example.com", "city": "Bonn"}
    assert len(wire.of("link")[0].inputs) == 2


async def test_trace_ids_are_unique_in_every_request(hs, sink, wire):
    await sink.deliver([hs.sale(str(n), email=f"u{n % 3}@b.example") for n in range(9)])

    for op in ("contacts", "deals"):
        traces = [item["objectWriteTraceId"] for item in wire.of(op)[0].inputs]
        assert len(set(traces)) == len(traces)


# 207 and other partial answers


async def test_a_bad_input_is_rejected_in_hubspots_words_and_the_rest_is_written(hs, sink, wire):
    wire.script(
        "deals",
        lambda call: hs.reply(
            207,
            results=[hs.written(item) for item in call.inputs if item["id"] != "sale:1"],
            errors=[hs.item_error("sale:1", message="XYZ was not one of the allowed options")],
        ),
    )

    outcomes = await sink.deliver([hs.sale(str(n)) for n in range(3)])

    assert statuses(outcomes) == ["delivered", "rejected", "delivered"]
    assert outcomes[1].error == "XYZ was not one of the allowed options"
    assert outcomes[1].code == "VALIDATION_ERROR"


async def test_errors_in_a_200_are_errors(hs, sink, wire):
    wire.script("deals", hs.reply(200, results=[], errors=[hs.item_error("sale:1")]))

    assert statuses(await sink.deliver([hs.sale("1")])) == ["rejected"]


async def test_any_2xx_is_success(hs, sink, wire):
    wire.script(
        "deals", lambda call: hs.reply(202, results=[hs.written(item) for item in call.inputs])
    )

    assert statuses(await sink.deliver([hs.sale("1")])) == ["delivered"]


async def test_a_response_without_results_is_retried(hs, sink, wire):
    wire.script("deals", hs.reply(200, results=[]))

    (outcome,) = await sink.deliver([hs.sale("1")])

    assert outcome.status is Status.RETRY
    assert "accounts for 0 of 1 inputs" in outcome.error


async def test_an_item_that_exists_is_delivered_with_its_id(hs, sink, wire):
    error = hs.item_error("sale:1", "CONFLICT", message="already exists. Existing ID: 777")
    wire.script("deals", hs.reply(207, results=[], errors=[error]))

    assert await sink.deliver([hs.sale("1")]) == [Outcome.delivered("777")]


async def test_a_temporary_item_error_is_retried(hs, sink, wire):
    wire.script(
        "deals", hs.reply(207, results=[], errors=[hs.item_error("sale:1", "INTERNAL_ERROR")])
    )

    (outcome,) = await sink.deliver([hs.sale("1")])

    assert (outcome.status, outcome.retry_after) == (Status.RETRY, 2.0)


async def test_unattributed_errors_split_the_batch(hs, sink, wire):
    wire.script("deals", hs.reply(207, errors=[hs.item_error(None), hs.item_error(None)]))

    with pytest.raises(BatchRejected) as caught:
        await sink.deliver([hs.sale("1"), hs.sale("2")])
    assert not caught.value.outcomes  # the whole batch goes again, in halves


# Contacts in trouble


async def test_a_refused_contact_does_not_lose_its_deal(hs, sink, wire, caplog):
    wire.script(
        "contacts", hs.reply(207, errors=[hs.item_error("sale:1", message="INVALID_EMAIL jane")])
    )
    customer = Customer(email="jane@example.com", first_name="Jane")

    with caplog.at_level(logging.WARNING, "anytrack_async.hubspot"):
        outcomes = await sink.deliver([hs.sale("1", customer=customer)])

    assert outcomes == [Outcome.delivered("id of sale:1")]
    assert wire.ops == ["contacts", "deals"]
    assert "deal of conversion sale:1 has no contact: INVALID_EMAIL ***" in caplog.text


async def test_a_single_contact_that_is_refused_does_not_lose_its_deal(hs, sink, wire):
    wire.script("contacts", hs.refusal(400, "VALIDATION_ERROR"))

    outcomes = await sink.deliver([hs.sale("1", email="a@b.example")])

    assert statuses(outcomes) == ["delivered"]


async def test_a_refused_request_for_several_contacts_splits_the_batch(hs, sink, wire):
    wire.script("contacts", hs.refusal(400, "VALIDATION_ERROR"))

    with pytest.raises(BatchRejected):
        await sink.deliver([hs.sale(str(n), email=f"u{n}@b.example") for n in range(2)])
    assert wire.ops == ["contacts"]


async def test_a_contact_that_exists_is_linked(hs, sink, wire):
    error = hs.item_error("sale:1", "CONFLICT", message="Contact already exists. Existing ID: 5")
    wire.script("contacts", hs.reply(207, errors=[error]))

    await sink.deliver([hs.sale("1", email="a@b.example")])

    assert wire.of("link")[0].inputs[0]["to"] == {"id": "5"}


async def test_a_contact_that_exists_without_an_id_is_retried(hs, sink, wire):
    wire.script("contacts", hs.reply(207, errors=[hs.item_error("sale:1", "CONFLICT")]))

    (outcome,) = await sink.deliver([hs.sale("1", email="a@b.example")])

    assert outcome.status is Status.RETRY
    assert "the deal was written but is not linked to its contact" in outcome.error


async def test_a_contact_missing_from_the_response_is_retried_after_its_deal(hs, sink, wire):
    wire.script("contacts", hs.reply(200, results=[]))

    outcomes = await sink.deliver([hs.sale("1", email="a@b.example"), hs.sale("2")])

    assert statuses(outcomes) == ["retry", "delivered"]
    assert len(wire.of("deals")[0].inputs) == 2


async def test_contacts_switched_off_are_not_written(hs, make_sink, wire):
    await make_sink(contacts=False).deliver([hs.sale("1", email="a@b.example")])

    assert wire.ops == ["deals"]


# Functions of the user


@pytest.mark.parametrize("setting", ["deal_name", "properties", "contact_properties"])
async def test_a_function_that_fails_rejects_its_conversion_only(hs, make_sink, wire, setting):
    def fail(conversion):
        if conversion.order_id == "1":
            raise KeyError("jane@example.com")
        return "name" if setting == "deal_name" else {}

    batch = [hs.sale(order, email="a@b.example") for order in "121"]
    outcomes = await make_sink(**{setting: fail}).deliver(batch)

    assert statuses(outcomes) == ["rejected", "delivered", "rejected"]
    assert "KeyError" in outcomes[0].error
    assert "jane" not in outcomes[0].error


async def test_an_unpaired_surrogate_rejects_its_conversion_only(hs, make_sink):
    sink = make_sink(properties=lambda c: {"x": "\ud800"} if c.order_id == "1" else {})

    assert statuses(await sink.deliver([hs.sale("1"), hs.sale("2")])) == ["rejected", "delivered"]


async def test_links_do_not_count_towards_the_limit(hs, make_sink, wire):
    sink = make_sink(rate_limit=2, rate_interval=3600)

    outcomes = await sink.deliver([hs.sale("1", email="a@b.example")])

    assert statuses(outcomes) == ["delivered"]
    assert wire.ops == ["contacts", "deals", "link"]


async def test_a_custom_conversion_is_a_deal_too(hs, sink, wire):
    await sink.deliver([Conversion.custom("Subscribed", order_id="9")])

    assert wire.calls[0].inputs[0]["id"] == "custom:Subscribed:9"
