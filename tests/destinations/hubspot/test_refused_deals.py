"""Refusals of a whole batch: split, sent again without the bad inputs, retried, or held."""

from types import SimpleNamespace

import httpx
import pytest

from anytrack_async.destinations.sink import (
    BatchRejected,
    Inconclusive,
    NeedsOperator,
    Unavailable,
)
from anytrack_async.events import UnusualConfirmation
from anytrack_async.models.outcome import Outcome, Status

pytestmark = pytest.mark.asyncio


def statuses(outcomes):
    return [outcome and outcome.status.value for outcome in outcomes]


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
