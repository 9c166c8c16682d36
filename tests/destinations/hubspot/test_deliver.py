import logging

import anyio
import httpx
import pytest

from anytrack_async.destinations.sink import (
    BatchRejected,
    NeedsOperator,
    Throttled,
    Unavailable,
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


async def test_requests_carry_the_token_and_the_version(hs, sink, wire):
    await sink.deliver([hs.sale()])

    (call,) = wire.calls
    assert call.token == hs.TOKEN
    assert call.path == "/crm/objects/2026-09/deals/batch/upsert"
    assert call.request.headers["content-type"] == "application/json"


async def test_older_paths_on_request(hs, make_sink, wire):
    await make_sink(api_version="v3").deliver([hs.sale(email="a@b.example")])

    assert [call.path for call in wire.calls] == [
        "/crm/v3/objects/contacts/batch/upsert",
        "/crm/v3/objects/deals/batch/upsert",
        "/crm/v4/associations/deals/contacts/batch/associate/default",
    ]


async def test_a_conversion_without_address_is_a_deal_alone(hs, sink, wire):
    await sink.deliver([hs.sale()])

    assert wire.ops == ["deals"]


async def test_each_outcome_is_its_own_whatever_the_order_of_results(hs, sink):
    outcomes = await sink.deliver([hs.sale(str(n), email=f"u{n}@b.example") for n in range(50)])

    assert [one.remote_id for one in outcomes] == [f"id of sale:{n}" for n in range(50)]


async def test_results_without_trace_ids_are_matched_by_the_unique_property(hs, sink, wire):
    def answer(call):
        return hs.reply(results=[hs.written(one, trace=False) for one in reversed(call.inputs)])

    wire.script("contacts", answer)
    wire.script("deals", answer)

    outcomes = await sink.deliver([hs.sale(str(n), email=f"u{n}@b.example") for n in range(9)])

    assert [one.remote_id for one in outcomes] == [f"id of sale:{n}" for n in range(9)]
    assert [link["to"]["id"] for link in wire.of("link")[0].inputs] == [
        f"id of u{n}@b.example" for n in range(9)
    ]


async def test_equal_event_ids_are_one_deal_with_one_outcome_each(hs, sink, wire):
    outcomes = await sink.deliver([hs.sale("1"), hs.sale("2"), hs.sale("1", revenue=5)])

    assert [one["id"] for one in wire.calls[0].inputs] == ["sale:1", "sale:2"]
    assert wire.calls[0].inputs[0]["properties"]["amount"] == "9.90"
    assert [one.remote_id for one in outcomes] == [
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
        traces = [one["objectWriteTraceId"] for one in wire.of(op)[0].inputs]
        assert len(set(traces)) == len(traces)


async def test_batches_stay_within_a_hundred(hs, sink, wire):
    outcomes = await sink.deliver([hs.sale(str(n)) for n in range(250)])

    assert [len(call.inputs) for call in wire.calls] == [100, 100, 50]
    assert [one.remote_id for one in outcomes] == [f"id of sale:{n}" for n in range(250)]


async def test_nothing_to_deliver_costs_nothing(sink, wire):
    assert await sink.deliver([]) == []
    assert not wire.calls


async def test_what_the_sink_is(sink):
    assert (sink.name, sink.limits.batch, sink.limits.concurrency) == ("hubspot", 100, 6)


# 207 and other partial answers


async def test_a_bad_input_is_rejected_in_hubspots_words_and_the_rest_is_written(hs, sink, wire):
    wire.script(
        "deals",
        lambda call: hs.reply(
            207,
            results=[hs.written(one) for one in call.inputs if one["id"] != "sale:1"],
            errors=[hs.item_error("sale:1", message="XYZ was not one of the allowed options")],
        ),
    )

    outcomes = await sink.deliver([hs.sale(str(n)) for n in range(3)])

    assert statuses(outcomes) == ["delivered", "rejected", "delivered"]
    assert outcomes[1].error == "XYZ was not one of the allowed options"
    assert outcomes[1].code == "VALIDATION_ERROR"


async def test_errors_count_whatever_the_status_says(hs, sink, wire):
    wire.script("deals", hs.reply(200, results=[], errors=[hs.item_error("sale:1")]))

    assert statuses(await sink.deliver([hs.sale("1")])) == ["rejected"]


async def test_any_2xx_is_success(hs, sink, wire):
    wire.script(
        "deals", lambda call: hs.reply(202, results=[hs.written(one) for one in call.inputs])
    )

    assert statuses(await sink.deliver([hs.sale("1")])) == ["delivered"]


async def test_an_answer_that_says_nothing_is_retried_loudly(hs, sink, wire):
    wire.script("deals", hs.reply(200, results=[]))

    (outcome,) = await sink.deliver([hs.sale("1")])

    assert outcome.status is Status.RETRY
    assert "accounts for 0 of 1 inputs" in outcome.error


async def test_an_item_that_exists_is_delivered_with_its_id(hs, sink, wire):
    error = hs.item_error("sale:1", "CONFLICT", message="already exists. Existing ID: 777")
    wire.script("deals", hs.reply(207, results=[], errors=[error]))

    assert await sink.deliver([hs.sale("1")]) == [Outcome.delivered("777")]


async def test_an_item_error_that_passes_is_retried(hs, sink, wire):
    wire.script(
        "deals", hs.reply(207, results=[], errors=[hs.item_error("sale:1", "INTERNAL_ERROR")])
    )

    (outcome,) = await sink.deliver([hs.sale("1")])

    assert (outcome.status, outcome.retry_after) == (Status.RETRY, 2.0)


async def test_errors_that_name_nobody_split_the_batch(hs, sink, wire):
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


async def test_a_lone_contact_that_spoils_the_request_does_not_lose_its_deal(hs, sink, wire):
    wire.script("contacts", hs.refusal(400, "VALIDATION_ERROR"))

    outcomes = await sink.deliver([hs.sale("1", email="a@b.example")])

    assert statuses(outcomes) == ["delivered"]


async def test_several_contacts_that_spoil_the_request_split_the_batch(hs, sink, wire):
    wire.script("contacts", hs.refusal(400, "VALIDATION_ERROR"))

    with pytest.raises(BatchRejected):
        await sink.deliver([hs.sale(str(n), email=f"u{n}@b.example") for n in range(2)])
    assert wire.ops == ["contacts"]


async def test_a_contact_that_exists_is_linked(hs, sink, wire):
    error = hs.item_error("sale:1", "CONFLICT", message="Contact already exists. Existing ID: 5")
    wire.script("contacts", hs.reply(207, errors=[error]))

    await sink.deliver([hs.sale("1", email="a@b.example")])

    assert wire.of("link")[0].inputs[0]["to"] == {"id": "5"}


async def test_a_contact_that_exists_somewhere_is_tried_again(hs, sink, wire):
    wire.script("contacts", hs.reply(207, errors=[hs.item_error("sale:1", "CONFLICT")]))

    (outcome,) = await sink.deliver([hs.sale("1", email="a@b.example")])

    assert outcome.status is Status.RETRY
    assert "the deal is there, its contact is not linked" in outcome.error


async def test_a_contact_nothing_is_known_of_is_tried_again_after_the_deal(hs, sink, wire):
    wire.script("contacts", hs.reply(200, results=[]))

    outcomes = await sink.deliver([hs.sale("1", email="a@b.example"), hs.sale("2")])

    assert statuses(outcomes) == ["retry", "delivered"]
    assert len(wire.of("deals")[0].inputs) == 2


async def test_contacts_switched_off_are_not_written(hs, make_sink, wire):
    await make_sink(contacts=False).deliver([hs.sale("1", email="a@b.example")])

    assert wire.ops == ["deals"]


# Links in trouble


async def test_a_link_that_fails_for_good_keeps_the_deal(hs, sink, wire, caplog):
    wire.script("link", hs.refusal(400, "VALIDATION_ERROR", "contact is gone"))

    outcomes = await sink.deliver([hs.sale("1", email="a@b.example")])

    assert statuses(outcomes) == ["delivered"]
    assert "contact is gone" in caplog.text


async def test_a_link_to_a_contact_that_was_deleted_keeps_the_deal(hs, sink, wire):
    wire.script("link", hs.refusal(404, "OBJECT_NOT_FOUND", "no such contact"))

    assert statuses(await sink.deliver([hs.sale("1", email="a@b.example")])) == ["delivered"]


async def test_a_path_that_is_not_there_holds_the_lane(hs, sink, wire):
    wire.script("deals", hs.refusal(404, "OBJECT_NOT_FOUND", "resource not found"))

    with pytest.raises(NeedsOperator, match=r"check HubSpotSettings\(api_version=…") as caught:
        await sink.deliver([hs.sale("1")])
    assert caught.value.cause == "configuration"


async def test_a_link_nothing_is_known_of_is_tried_again(hs, sink, wire):
    wire.script("link", hs.reply(200, results=[]))

    outcomes = await sink.deliver([hs.sale("1", email="a@b.example"), hs.sale("2")])

    assert statuses(outcomes) == ["retry", "delivered"]


async def test_a_link_that_exists_is_fine(hs, sink, wire):
    wire.script("link", hs.refusal(409, "CONFLICT"))

    assert statuses(await sink.deliver([hs.sale("1", email="a@b.example")])) == ["delivered"]


async def test_locked_links_are_tried_again(hs, sink, wire):
    wire.script("link", hs.refusal(423, "LOCKED"))

    (outcome,) = await sink.deliver([hs.sale("1", email="a@b.example")])

    assert (outcome.status, outcome.retry_after) == (Status.RETRY, 2.0)


async def test_a_refused_request_for_links_names_the_bad_one(hs, sink, wire, caplog):
    error = {"message": "gone", "context": {"fromObjectId": ["id of sale:1"]}}
    wire.script("link", hs.refusal(400, "VALIDATION_ERROR", errors=[error]))

    outcomes = await sink.deliver([hs.sale(str(n), email=f"u{n}@b.example") for n in range(3)])

    assert statuses(outcomes) == ["retry", "delivered", "retry"]


async def test_links_refused_without_a_name_split_the_batch(hs, sink, wire):
    wire.script("link", hs.refusal(400, "VALIDATION_ERROR"))

    with pytest.raises(BatchRejected):
        await sink.deliver([hs.sale(str(n), email=f"u{n}@b.example") for n in range(2)])


async def test_a_throttled_link_leaves_only_the_linked_open(hs, sink, wire):
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


async def test_a_refused_batch_that_names_its_bad_inputs_goes_again_without_them(hs, sink, wire):
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
    assert statuses(await sink.deliver([hs.sale("1")])) == ["rejected"]


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


async def test_locked_records_are_tried_again_after_two_seconds(hs, sink, wire):
    wire.script("deals", hs.refusal(423, "LOCKED"))

    outcomes = await sink.deliver([hs.sale("1"), hs.sale("2")])

    assert [(one.status, one.retry_after) for one in outcomes] == [(Status.RETRY, 2.0)] * 2


@pytest.mark.parametrize("op", ["contacts", "deals", "link"])
@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("no route"),
        httpx.ReadTimeout("slow"),
        *(httpx.Response(status) for status in (500, 502, 503, 504, 521, 523, 524)),
        httpx.Response(200, text="<html>"),
        httpx.Response(400, text="<html>"),
    ],
    ids=repr,
)
async def test_a_service_that_is_down_is_unavailable(hs, sink, wire, op, answer):
    wire.script(op, answer)

    with pytest.raises(Unavailable):
        await sink.deliver([hs.sale("1", email="a@b.example")])
    assert wire.ops[-1] == op


@pytest.mark.parametrize(
    ("policy", "headers", "after"),
    [
        ("TEN_SECONDLY_ROLLING", {"Retry-After": "4"}, 4.0),
        ("TEN_SECONDLY_ROLLING", {"X-HubSpot-RateLimit-Interval-Milliseconds": "8000"}, 8.0),
        ("SECONDLY", {}, 10.0),
        ("DAILY", {}, 3600.0),
    ],
)
async def test_throttling_pauses_the_lane(hs, sink, wire, policy, headers, after):
    answer = hs.refusal(429, "RATE_LIMITS", policyName=policy)
    answer.headers.update(headers)
    wire.script("deals", answer)

    with pytest.raises(Throttled) as caught:
        await sink.deliver([hs.sale("1")])
    assert (caught.value.after, caught.value.code) == (after, policy)


async def test_a_portal_that_moves_pauses_the_lane(hs, sink, wire):
    wire.script("deals", httpx.Response(477, headers={"Retry-After": "1800"}))

    with pytest.raises(Throttled) as caught:
        await sink.deliver([hs.sale("1")])
    assert caught.value.after == 1800


async def test_missing_scopes_hold_the_lane_and_are_named(hs, sink, wire):
    errors = [{"context": {"requiredGranularScopes": ["crm.objects.deals.write"]}}]
    wire.script("deals", hs.refusal(403, "MISSING_SCOPES", errors=errors))

    with pytest.raises(NeedsOperator, match=r"crm\.objects\.deals\.write") as caught:
        await sink.deliver([hs.sale("1")])
    assert caught.value.cause == "credentials"


async def test_a_missing_property_of_ours_holds_the_lane_and_keeps_what_was_written(hs, sink, wire):
    detail = {"code": "PROPERTY_DOESNT_EXIST", "context": {"propertyName": ["anytrack_source"]}}
    wire.script(
        "deals",
        lambda call: hs.reply(
            207,
            results=[hs.written(one) for one in call.inputs if one["id"] != "sale:1"],
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
        "create the deal property 'plan' in HubSpot, or take it out of "
        "HubSpotSettings(properties=…); then client.resume('hubspot')"
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


async def test_a_hold_wins_over_a_split(hs, sink, wire):
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


async def test_a_signal_in_a_later_batch_keeps_the_earlier_outcomes(hs, sink, wire):
    wire.script(
        "deals",
        lambda call: hs.reply(results=[hs.written(one) for one in call.inputs]),
        hs.refusal(429, "RATE_LIMITS", policyName="SECONDLY"),
    )

    with pytest.raises(Throttled) as caught:
        await sink.deliver([hs.sale(str(n)) for n in range(250)])
    assert statuses(caught.value.outcomes) == ["delivered"] * 100 + [None] * 150


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


async def test_a_value_no_request_can_carry_rejects_its_conversion_only(hs, make_sink):
    sink = make_sink(properties=lambda c: {"x": "\ud800"} if c.order_id == "1" else {})

    assert statuses(await sink.deliver([hs.sale("1"), hs.sale("2")])) == ["rejected", "delivered"]


# The life of a sink


async def test_closing_closes_the_transport(sink, wire, hs):
    await sink.deliver([hs.sale()])
    await sink.aclose()

    assert wire.closed == 1


async def test_a_new_token_is_used_from_now_on(hs, sink, wire):
    await sink.deliver([hs.sale()])
    sink.use_token("rotated")
    await sink.deliver([hs.sale()])

    assert [call.token for call in wire.calls] == [hs.TOKEN, "rotated"]


@pytest.mark.parametrize("token", ["", " x", "x\n", "ü"])
async def test_a_token_that_cannot_be_one_is_refused(sink, token):
    with pytest.raises(ValueError, match="token"):
        sink.use_token(token)


async def test_a_refused_token_holds_the_lane(hs, sink, wire):
    wire.script("deals", hs.refusal(401, "INVALID_AUTHENTICATION", "who are you"))

    with pytest.raises(NeedsOperator, match="who are you") as caught:
        await sink.deliver([hs.sale()])
    assert caught.value.cause == "credentials"
    assert len(wire.calls) == 1


async def test_a_token_replaced_while_a_request_was_under_way_is_tried(hs, sink, wire):
    def replaced(call):
        sink.use_token("rotated")
        return hs.refusal(401, "EXPIRED_AUTHENTICATION")

    wire.script("deals", replaced)

    assert statuses(await sink.deliver([hs.sale()])) == ["delivered"]
    assert [call.token for call in wire.calls] == [hs.TOKEN, "rotated"]


async def test_two_sinks_of_one_token_share_the_limit(hs, make_sink, wire):
    one, other = make_sink(), make_sink()
    wire.script("deals", hs.refusal(429, "RATE_LIMITS", policyName="TEN_SECONDLY_ROLLING"))
    with pytest.raises(Throttled):
        await one.deliver([hs.sale()])

    with anyio.move_on_after(0.01) as scope:
        await other.deliver([hs.sale()])
    assert scope.cancelled_caught
    assert len(wire.calls) == 1


async def test_a_limit_of_a_day_does_not_make_other_callers_wait(hs, make_sink, wire):
    one, other = make_sink(), make_sink()
    wire.script("deals", hs.refusal(429, "RATE_LIMITS", policyName="DAILY"))
    with pytest.raises(Throttled):
        await one.deliver([hs.sale()])

    with anyio.fail_after(1):
        assert statuses(await other.deliver([hs.sale()])) == ["delivered"]


async def test_links_do_not_count_towards_the_limit(hs, make_sink, wire):
    sink = make_sink(rate_limit=2, rate_interval=3600)

    outcomes = await sink.deliver([hs.sale("1", email="a@b.example")])

    assert statuses(outcomes) == ["delivered"]
    assert wire.ops == ["contacts", "deals", "link"]


async def test_a_custom_event_kind_is_a_deal_too(hs, sink, wire):
    await sink.deliver([Conversion.custom("Subscribed", order_id="9")])

    assert wire.calls[0].inputs[0]["id"] == "custom:Subscribed:9"
