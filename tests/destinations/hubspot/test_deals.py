import logging
from types import SimpleNamespace

import httpx
import pytest

from anytrack_async.destinations.hubspot.links import (
    link_problems,
)
from anytrack_async.destinations.hubspot.problem import ProblemKind
from anytrack_async.destinations.sink import (
    BatchRejected,
    Inconclusive,
    NeedsOperator,
    Throttled,
    Unavailable,
)
from anytrack_async.events import UnusualConfirmation
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


# Links in trouble


async def test_a_link_that_is_rejected_keeps_the_deal(hs, sink, wire, caplog):
    wire.script("link", hs.refusal(400, "VALIDATION_ERROR", "contact is gone"))

    outcomes = await sink.deliver([hs.sale("1", email="a@b.example")])

    assert statuses(outcomes) == ["delivered"]
    assert "contact is gone" in caplog.text


async def test_a_link_to_a_contact_that_was_deleted_keeps_the_deal(hs, sink, wire, caplog):
    wire.script("link", hs.refusal(404, "OBJECT_NOT_FOUND", "no such contact"))

    with caplog.at_level(logging.WARNING, "anytrack_async.hubspot"):
        outcomes = await sink.deliver([hs.sale("1", email="a@b.example")])

    assert statuses(outcomes) == ["delivered"]
    assert "no such contact (correlation id" in caplog.text


async def test_a_link_missing_from_the_response_is_retried(hs, sink, wire):
    wire.script("link", hs.reply(200, results=[]))

    outcomes = await sink.deliver([hs.sale("1", email="a@b.example"), hs.sale("2")])

    assert statuses(outcomes) == ["retry", "delivered"]


async def test_a_link_that_exists_is_delivered(hs, sink, wire):
    wire.script("link", hs.refusal(409, "CONFLICT"))

    assert statuses(await sink.deliver([hs.sale("1", email="a@b.example")])) == ["delivered"]


async def test_locked_links_are_retried(hs, sink, wire):
    wire.script("link", hs.refusal(423, "LOCKED"))

    (outcome,) = await sink.deliver([hs.sale("1", email="a@b.example")])

    assert (outcome.status, outcome.retry_after) == (Status.RETRY, 2.0)


async def test_a_refused_request_for_links_retries_the_good_ones(hs, sink, wire, caplog):
    error = {"message": "gone", "context": {"fromObjectId": ["id of sale:1"]}}
    wire.script("link", hs.refusal(400, "VALIDATION_ERROR", errors=[error]))

    outcomes = await sink.deliver([hs.sale(str(n), email=f"u{n}@b.example") for n in range(3)])

    assert statuses(outcomes) == ["retry", "delivered", "retry"]


async def test_refused_links_without_a_named_one_split_the_batch(hs, sink, wire):
    wire.script("link", hs.refusal(400, "VALIDATION_ERROR"))

    with pytest.raises(BatchRejected):
        await sink.deliver([hs.sale(str(n), email=f"u{n}@b.example") for n in range(2)])


async def test_a_throttled_link_leaves_only_linked_deals_without_outcome(hs, sink, wire):
    wire.script("link", hs.refusal(429, "RATE_LIMITS", policyName="SECONDLY"))

    with pytest.raises(Throttled) as caught:
        await sink.deliver([hs.sale("1", email="a@b.example"), hs.sale("2")])
    assert statuses(caught.value.outcomes) == [None, "delivered"]


# The batch as a whole


async def test_a_refused_batch_of_several_is_split(hs, sink, wire):
    wire.script("deals", hs.refusal(400, "VALIDATION_ERROR", "bad"))

    with pytest.raises(BatchRejected) as caught:
        await sink.deliver([hs.sale("1"), hs.sale("2")])
    assert caught.value.reason == "bad (correlation id cor-1)"
    assert caught.value.code == "VALIDATION_ERROR"


async def test_a_refused_batch_of_one_is_rejected(hs, sink, wire):
    wire.script("deals", hs.refusal(400, "VALIDATION_ERROR", "bad"))

    (outcome,) = await sink.deliver([hs.sale("1")])

    assert outcome == Outcome.rejected("bad (correlation id cor-1)", code="VALIDATION_ERROR")


async def test_a_refused_batch_that_names_its_bad_inputs_is_sent_again_without_them(hs, sink, wire):
    wire.script(
        "deals",
        hs.refusal(400, "VALIDATION_ERROR", errors=[hs.item_error("sale:1", message="first")]),
        hs.refusal(400, "VALIDATION_ERROR", errors=[hs.item_error("sale:0", message="second")]),
    )

    outcomes = await sink.deliver([hs.sale(str(n)) for n in range(4)])

    assert statuses(outcomes) == ["rejected", "rejected", "delivered", "delivered"]
    assert [outcome.error for outcome in outcomes[:2]] == ["second", "first"]
    assert [len(call.inputs) for call in wire.of("deals")] == [4, 3, 2]


async def test_a_batch_too_large_for_the_server_is_split(hs, sink, wire):
    wire.script("deals", httpx.Response(413), httpx.Response(413))

    with pytest.raises(BatchRejected):
        await sink.deliver([hs.sale("1"), hs.sale("2")])
    with pytest.raises(Inconclusive):
        await sink.deliver([hs.sale("1")])


@pytest.mark.parametrize("answer", [{}, {"message": "no"}, {"category": "NEW", "errors": [{}]}])
async def test_a_refusal_that_may_be_about_every_deal_is_inconclusive(hs, sink, wire, answer):
    wire.script("deals", *[httpx.Response(400, json=answer)] * 2)

    with pytest.raises(BatchRejected):
        await sink.deliver([hs.sale("1"), hs.sale("2")])
    with pytest.raises(Inconclusive):
        await sink.deliver([hs.sale("1")])


@pytest.mark.parametrize("op", ["contacts", "link"])
async def test_an_inconclusive_refusal_of_a_contact_does_not_lose_its_deal(hs, sink, wire, op):
    wire.script(op, httpx.Response(400, json={"message": "no"}))

    assert statuses(await sink.deliver([hs.sale("1", email="a@b.example")])) == ["delivered"]


async def test_a_page_in_place_of_a_link_is_retried(hs, sink, wire):
    wire.script("link", *[httpx.Response(403, text="<html>Blocked</html>")] * 9)

    with pytest.raises(Unavailable):
        await sink.deliver([hs.sale("1", email="a@b.example")])


async def test_a_page_for_one_deal_of_several_is_a_firewalls(hs, sink, wire):
    page = httpx.Response(403, text="<html>Blocked</html>")
    wire.script("deals", *[page] * 2)

    with pytest.raises(NeedsOperator):  # perhaps HubSpot was never reached
        await sink.deliver([hs.sale("1")])
    with pytest.raises(BatchRejected):
        await sink.deliver([hs.sale("1"), hs.sale("2")])

    assert statuses(await sink.deliver([hs.sale("1")])) == ["delivered"]
    wire.script("deals", page)
    with pytest.raises(Inconclusive):
        await sink.deliver([hs.sale("2")])


@pytest.mark.parametrize(
    ("op", "id_", "requests"),
    [
        ("contacts", "id of sale:1", ["contacts", "deals"]),
        ("deals", None, ["contacts", "deals"]),
        ("link", "id of sale:1", ["contacts", "deals", "link"]),
    ],
)
async def test_a_204_confirms_without_ids(hs, sink, wire, op, id_, requests):
    events = []
    sink.set_observer(SimpleNamespace(notify=events.append))
    wire.script(op, httpx.Response(204))

    outcomes = await sink.deliver([hs.sale("1", email="a@b.example")])

    assert outcomes == [Outcome.delivered(id_)]
    assert wire.ops == requests
    assert events == [UnusualConfirmation(destination="hubspot", answer="status 204, no body")]


async def test_a_conflict_of_one_is_delivered_with_its_id(hs, sink, wire):
    wire.script("deals", hs.refusal(409, "CONFLICT", "exists. Existing ID: 9"))

    assert await sink.deliver([hs.sale("1")]) == [Outcome.delivered("9")]


async def test_a_conflict_without_an_id_counts_as_delivered(hs, sink, wire):
    wire.script("deals", hs.refusal(409, "CONFLICT"))

    assert await sink.deliver([hs.sale("1", email="a@b.example")]) == [Outcome.delivered()]
    assert wire.ops == ["contacts", "deals"]


async def test_a_conflict_among_several_is_split(hs, sink, wire):
    wire.script("deals", hs.refusal(409, "CONFLICT"))

    with pytest.raises(BatchRejected):
        await sink.deliver([hs.sale("1"), hs.sale("2")])


async def test_locked_records_are_retried_after_two_seconds(hs, sink, wire):
    wire.script("deals", hs.refusal(423, "LOCKED"))

    outcomes = await sink.deliver([hs.sale("1"), hs.sale("2")])

    assert [(outcome.status, outcome.retry_after) for outcome in outcomes] == [
        (Status.RETRY, 2.0)
    ] * 2


async def test_a_missing_property_of_ours_holds_the_lane_and_keeps_outcomes(hs, sink, wire):
    detail = {"code": "PROPERTY_DOESNT_EXIST", "context": {"propertyName": ["anytrack_source"]}}
    wire.script(
        "deals",
        lambda call: hs.reply(
            207,
            results=[hs.written(item) for item in call.inputs if item["id"] != "sale:1"],
            errors=[hs.item_error("sale:1", errors=[detail])],
        ),
    )

    with pytest.raises(NeedsOperator, match="`anytrack setup hubspot`") as caught:
        await sink.deliver([hs.sale("1", source="google"), hs.sale("2")])
    assert statuses(caught.value.outcomes) == [None, "delivered"]
    assert caught.value.cause == "configuration"


async def test_a_missing_property_of_the_settings_holds_the_lane(hs, make_sink, wire):
    detail = {"code": "PROPERTY_DOESNT_EXIST", "context": {"propertyName": ["plan"]}}
    wire.script("deals", hs.reply(207, errors=[hs.item_error("sale:1", errors=[detail])]))

    with pytest.raises(NeedsOperator) as caught:
        await make_sink(properties={"plan": "custom_data.plan"}).deliver([hs.sale("1")])
    assert caught.value.cause == "configuration"
    assert caught.value.reason.endswith(
        "create the deal property 'plan' in HubSpot, or remove it from "
        "HubSpotSettings(properties=…)"
    )


async def test_another_fault_of_a_property_of_the_settings_rejects_its_conversion(
    hs, make_sink, wire
):
    detail = {"code": "INVALID_OPTION", "context": {"propertyName": ["plan"]}}
    wire.script("deals", hs.reply(207, errors=[hs.item_error("sale:1", errors=[detail])]))

    outcomes = await make_sink(properties={"plan": "custom_data.plan"}).deliver([hs.sale("1")])
    assert statuses(outcomes) == ["rejected"]


async def test_a_missing_property_that_a_function_returns_rejects_its_conversion(
    hs, make_sink, wire
):
    detail = {"code": "PROPERTY_DOESNT_EXIST", "context": {"propertyName": ["plan"]}}
    wire.script("deals", hs.reply(207, errors=[hs.item_error("sale:1", errors=[detail])]))

    outcomes = await make_sink(properties=lambda c: {"plan": "gold"}).deliver([hs.sale("1")])
    assert statuses(outcomes) == ["rejected"]


async def test_a_problem_for_an_operator_comes_before_a_split(hs, sink, wire):
    detail = {"code": "PROPERTY_DOESNT_EXIST", "context": {"propertyName": ["anytrack_source"]}}
    wire.script(
        "deals",
        lambda call: hs.reply(
            207,
            results=[hs.written(call.inputs[3])],
            errors=[
                hs.item_error(None),
                hs.item_error(None),
                hs.item_error("sale:2", errors=[detail]),
            ],
        ),
    )

    with pytest.raises(NeedsOperator) as caught:
        await sink.deliver([hs.sale(str(n)) for n in range(4)])
    assert statuses(caught.value.outcomes) == [None, None, None, "delivered"]


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


# Links in a response
LINKS = [("1", "10"), ("2", "20")]


def link_result(deal_id, contact_id):
    return {"from": {"id": deal_id}, "to": {"id": contact_id}}


async def test_a_link_is_found_in_either_direction_and_form():
    body = {"results": [link_result("10", "1"), {"fromObjectId": 2, "toObjectId": 20}]}

    assert link_problems(LINKS, body) == {}


async def test_a_link_that_is_missing_from_the_response_is_retried():
    problems = link_problems(LINKS, {"results": [link_result("1", "10"), {"from": None}]})

    assert list(problems) == [("2", "20")]
    assert problems["2", "20"].kind is ProblemKind.RETRY_LATER
    assert "its link to the contact is in neither" in problems["2", "20"].message


@pytest.mark.parametrize(
    "context",
    [
        {"fromObjectId": ["2"], "toObjectId": ["20"]},
        {"from": ["2"]},
        {"to": "20"},
    ],
)
async def test_an_error_names_its_link(context):
    body = {"results": [], "errors": [{"message": "gone", "context": context}]}

    problems = link_problems(LINKS, body)

    assert problems["2", "20"].message == "gone"
    assert problems["1", "10"].kind is ProblemKind.RETRY_LATER


async def test_a_link_that_exists_has_no_problem():
    error = {"category": "CONFLICT", "message": "exists", "context": {"from": ["2"]}}

    assert link_problems(LINKS, {"results": [link_result("1", "10")], "errors": [error]}) == {}


async def test_an_unattributed_error_belongs_to_the_only_missing_link():
    body = {"results": [link_result("1", "10")], "errors": [{"message": "gone"}]}

    assert link_problems(LINKS, body)["2", "20"].kind is ProblemKind.REJECTED
