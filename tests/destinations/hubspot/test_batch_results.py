"""Which input of a batch each result and each error of HubSpot's answer belongs to."""

import random

import pytest

from anytrack_async.destinations.hubspot.batch_results import (
    failed_inputs,
    read_batch_result,
)
from anytrack_async.destinations.hubspot.problem import Problem, ProblemKind
from tests.destinations.hubspot.test_responses import read

# Each input of a batch


def deal(number):
    key = f"e{number}"
    return {
        "id": key,
        "idProperty": "anytrack_event_id",
        "properties": {"anytrack_event_id": key},
        "objectWriteTraceId": key,
    }


def contact(email, trace):
    return {
        "id": email,
        "idProperty": "email",
        "properties": {"email": email},
        "objectWriteTraceId": trace,
    }


DEALS = [deal(number) for number in range(20)]


@pytest.mark.parametrize("trace", [True, False])
def test_results_are_matched_in_any_order(hs, trace):
    results = [hs.written(item, trace=trace) for item in DEALS]
    random.Random(7).shuffle(results)

    result = read_batch_result(DEALS, {"results": results})

    assert result.record_ids == {item["id"]: f"id of {item['id']}" for item in DEALS}
    assert not result.problems


def test_addresses_match_in_any_case():
    inputs = [contact("jane@example.com", "e1"), contact("joe@example.com", "e2")]
    results = [
        {"id": 2, "properties": {"email": "Joe@Example.com "}},
        {"id": 1, "properties": {"email": "JANE@example.com"}},
    ]

    assert read_batch_result(inputs, {"results": results}).record_ids == {"e1": "1", "e2": "2"}


def test_an_error_names_its_input_and_the_others_are_written(hs):
    body = {
        "results": [hs.written(item) for item in DEALS[1:]],
        "errors": [hs.item_error("e0")],
        "numErrors": 1,
    }

    result = read_batch_result(DEALS, body)

    assert len(result.record_ids) == 19
    assert result.problems["e0"].kind is ProblemKind.REJECTED
    assert result.problems["e0"].message == "bad input"


@pytest.mark.parametrize(
    "context",
    [
        {"objectWriteTraceId": "e0"},
        {"objectWriteTraceId": ["e0"]},
        {"objectwritetraceid": ["e0"]},
        {"ids": ["e0"]},
        {"id": ["e0"]},
    ],
)
def test_an_error_may_name_its_input_under_several_keys(hs, context):
    results = [hs.written(item) for item in DEALS[1:]]
    body = {"results": results, "errors": [{"message": "bad", "context": context}]}

    assert set(read_batch_result(DEALS, body).problems) == {"e0"}


def test_an_inner_error_may_name_the_input():
    error = {"message": "bad", "errors": [{"context": {"objectWriteTraceId": ["e0"]}}]}

    assert read_batch_result(DEALS[:1], {"errors": [error]}).problems["e0"].message == "bad"


@pytest.mark.parametrize(
    "message", ["Portal 1 is over its record limit for deals", "the limit of your plan is reached"]
)
def test_a_limit_of_the_portal_rejects_no_conversion(message):
    problem = read(400, category="VALIDATION_ERROR", message=message)

    assert problem.kind is ProblemKind.NEEDS_OPERATOR


@pytest.mark.parametrize("body", [{}, {"login": "required"}, [], None, "COMPLETE"])
def test_a_body_of_another_service_counts_as_no_attempt(body):
    problems = read_batch_result(DEALS, body).problems

    assert set(problems) == {item["id"] for item in DEALS}
    assert {problem.kind for problem in problems.values()} == {ProblemKind.UNAVAILABLE}


@pytest.mark.parametrize("body", [{"results": []}, {"results": None}])
def test_inputs_of_a_response_without_results_are_retried(body):
    problems = read_batch_result(DEALS, body).problems

    assert set(problems) == {item["id"] for item in DEALS}
    for problem in problems.values():
        assert problem.kind is ProblemKind.RETRY_LATER
        assert problem.code == "UNACCOUNTED"
        assert "accounts for 0 of 20 inputs" in problem.message


def test_only_the_input_that_is_missing_fails(hs):
    body = {"results": [hs.written(item) for item in DEALS[1:]]}

    result = read_batch_result(DEALS, body)

    assert len(result.record_ids) == 19
    assert list(result.problems) == ["e0"]
    assert "accounts for 19 of 20 inputs" in result.problems["e0"].message


def test_results_that_match_no_input_are_ignored(hs):
    strangers = [
        hs.written(deal(99)),
        {"id": "5", "properties": {}},
        {"id": "6", "properties": None},
        {"id": "7", "properties": {"anytrack_event_id": 3}},
        {"id": "", "objectWriteTraceId": "e0"},
        "noise",
    ]

    assert set(read_batch_result(DEALS[:1], {"results": strangers}).problems) == {"e0"}


def test_an_unattributed_error_belongs_to_the_only_missing_input(hs):
    body = {
        "results": [hs.written(item) for item in DEALS[1:]],
        "errors": [hs.item_error(None)],
    }

    assert read_batch_result(DEALS, body).problems["e0"].kind is ProblemKind.REJECTED


@pytest.mark.parametrize("count", [1, 3])
def test_an_unknown_error_that_names_no_input_rejects_none(hs, count: int):
    problems = read_batch_result(DEALS[:count], {"errors": [hs.item_error(None, "NEW")]}).problems

    kind = ProblemKind.INCONCLUSIVE if count == 1 else ProblemKind.BATCH_REJECTED
    assert {problem.kind for problem in problems.values()} == {kind}


def test_unattributed_errors_of_several_inputs_reject_the_batch(hs):
    body = {
        "results": [hs.written(item) for item in DEALS[2:]],
        "errors": [hs.item_error(None), hs.item_error(None)],
    }

    problems = read_batch_result(DEALS, body).problems

    assert {name: problem.kind for name, problem in problems.items()} == {
        "e0": ProblemKind.BATCH_REJECTED,
        "e1": ProblemKind.BATCH_REJECTED,
    }


def test_an_unattributed_temporary_error_is_retried_without_splitting(hs):
    problems = read_batch_result(
        DEALS, {"errors": [hs.item_error(None, "INTERNAL_ERROR")]}
    ).problems

    assert {problem.kind for problem in problems.values()} == {ProblemKind.RETRY_LATER}


def test_a_written_input_stays_written_even_if_an_error_names_it_too(hs):
    body = {"results": [hs.written(DEALS[0])], "errors": [hs.item_error("e0")]}

    result = read_batch_result(DEALS[:1], body)

    assert result.record_ids == {"e0": "id of e0"}
    assert not result.problems


def test_a_refused_batch_fails_the_inputs_that_its_errors_name(hs):
    problem = Problem(kind=ProblemKind.REJECTED, message="bad")

    assert set(failed_inputs(DEALS, problem, {"errors": [hs.item_error("e3")]})) == {"e3"}
    assert not failed_inputs(DEALS, problem, {})
    assert set(failed_inputs(DEALS[:1], problem, None)) == {"e0"}


@pytest.mark.parametrize("kind", [ProblemKind.INCONCLUSIVE, ProblemKind.BATCH_REJECTED])
def test_a_refused_input_is_rejected_only_if_it_is_named(hs, kind):
    problem = Problem(kind=kind, message="no")

    alone = failed_inputs(DEALS[:1], problem, {})
    named = failed_inputs(DEALS[:1], problem, {"errors": [hs.item_error("e0")]})
    assert alone["e0"].kind is ProblemKind.INCONCLUSIVE
    assert named["e0"].kind is ProblemKind.REJECTED
    assert not failed_inputs(DEALS, problem, {})


def test_a_locked_batch_fails_every_input():
    problem = Problem(kind=ProblemKind.RETRY_LATER, message="locked", retry_after=2.0)

    assert len(failed_inputs(DEALS, problem, {})) == 20


@pytest.mark.parametrize(
    "kind", [ProblemKind.NEEDS_OPERATOR, ProblemKind.THROTTLED, ProblemKind.UNAVAILABLE]
)
def test_a_problem_of_the_whole_request_fails_no_input(kind, hs):
    problem = Problem(kind=kind, message="no")

    assert not failed_inputs(DEALS[:1], problem, {"errors": [hs.item_error("e0")]})
