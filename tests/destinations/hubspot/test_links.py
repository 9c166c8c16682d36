"""Links of deals and contacts: refused, missing, throttled, and how an answer names them."""

import logging

import pytest

from anytrack_async.destinations.hubspot.links import (
    link_problems,
)
from anytrack_async.destinations.hubspot.problem import ProblemKind
from anytrack_async.destinations.sink import (
    BatchRejected,
    Throttled,
)
from anytrack_async.models.outcome import Status

pytestmark = pytest.mark.asyncio


def statuses(outcomes):
    return [outcome and outcome.status.value for outcome in outcomes]


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
