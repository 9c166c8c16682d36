import random

import pytest

from anytrack_async.destinations.hubspot.deals import link_problems
from anytrack_async.destinations.hubspot.problem import Problem, ProblemKind
from anytrack_async.destinations.hubspot.responses import failed_inputs, read_batch_result


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
    results = [hs.written(one, trace=trace) for one in DEALS]
    random.Random(7).shuffle(results)

    result = read_batch_result(DEALS, {"results": results})

    assert result.record_ids == {one["id"]: f"id of {one['id']}" for one in DEALS}
    assert not result.problems


def test_lower_cased_addresses_match():
    inputs = [contact("jane@example.com", "e1"), contact("joe@example.com", "e2")]
    results = [
        {"id": 2, "properties": {"email": "Joe@Example.com "}},
        {"id": 1, "properties": {"email": "JANE@example.com"}},
    ]

    assert read_batch_result(inputs, {"results": results}).record_ids == {"e1": "1", "e2": "2"}


def test_an_error_names_its_input_and_the_others_are_written(hs):
    body = {
        "results": [hs.written(one) for one in DEALS[1:]],
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
def test_an_input_is_named_in_many_ways(hs, context):
    results = [hs.written(one) for one in DEALS[1:]]
    body = {"results": results, "errors": [{"message": "bad", "context": context}]}

    assert set(read_batch_result(DEALS, body).problems) == {"e0"}


def test_an_inner_error_may_name_the_input():
    error = {"message": "bad", "errors": [{"context": {"objectWriteTraceId": ["e0"]}}]}

    assert read_batch_result(DEALS[:1], {"errors": [error]}).problems["e0"].message == "bad"


@pytest.mark.parametrize("body", [{}, {"results": []}, {"results": None}, [], None, "COMPLETE"])
def test_an_answer_without_results_fails_loudly(body):
    problems = read_batch_result(DEALS, body).problems

    assert set(problems) == {one["id"] for one in DEALS}
    for problem in problems.values():
        assert problem.kind is ProblemKind.RETRY_LATER
        assert problem.code == "UNACCOUNTED"
        assert "accounts for 0 of 20 inputs" in problem.message


def test_one_input_that_is_missing_is_the_only_one_to_fail(hs):
    body = {"results": [hs.written(one) for one in DEALS[1:]]}

    result = read_batch_result(DEALS, body)

    assert len(result.record_ids) == 19
    assert list(result.problems) == ["e0"]
    assert "accounts for 19 of 20 inputs" in result.problems["e0"].message


def test_results_of_strangers_are_passed_over(hs):
    strangers = [
        hs.written(deal(99)),
        {"id": "5", "properties": {}},
        {"id": "6", "properties": None},
        {"id": "7", "properties": {"anytrack_event_id": 3}},
        {"id": "", "objectWriteTraceId": "e0"},
        "noise",
    ]

    assert set(read_batch_result(DEALS[:1], {"results": strangers}).problems) == {"e0"}


def test_a_lone_nameless_error_belongs_to_the_lone_missing_input(hs):
    body = {
        "results": [hs.written(one) for one in DEALS[1:]],
        "errors": [hs.item_error(None)],
    }

    assert read_batch_result(DEALS, body).problems["e0"].kind is ProblemKind.REJECTED


def test_nameless_errors_of_several_inputs_split_the_batch(hs):
    body = {
        "results": [hs.written(one) for one in DEALS[2:]],
        "errors": [hs.item_error(None), hs.item_error(None)],
    }

    problems = read_batch_result(DEALS, body).problems

    assert {name: problem.kind for name, problem in problems.items()} == {
        "e0": ProblemKind.BATCH_REJECTED,
        "e1": ProblemKind.BATCH_REJECTED,
    }


def test_a_nameless_error_that_passes_is_retried_without_splitting(hs):
    problems = read_batch_result(
        DEALS, {"errors": [hs.item_error(None, "INTERNAL_ERROR")]}
    ).problems

    assert {problem.kind for problem in problems.values()} == {ProblemKind.RETRY_LATER}


def test_what_was_written_stays_written_even_if_an_error_names_it_too(hs):
    body = {"results": [hs.written(DEALS[0])], "errors": [hs.item_error("e0")]}

    result = read_batch_result(DEALS[:1], body)

    assert result.record_ids == {"e0": "id of e0"}
    assert not result.problems


def test_a_refused_batch_blames_whom_it_names(hs):
    problem = Problem(kind=ProblemKind.REJECTED, message="bad")

    assert set(failed_inputs(DEALS, problem, {"errors": [hs.item_error("e3")]})) == {"e3"}
    assert not failed_inputs(DEALS, problem, {})
    assert set(failed_inputs(DEALS[:1], problem, None)) == {"e0"}


def test_a_locked_batch_is_everyones():
    problem = Problem(kind=ProblemKind.RETRY_LATER, message="locked", retry_after=2.0)

    assert len(failed_inputs(DEALS, problem, {})) == 20


@pytest.mark.parametrize(
    "kind", [ProblemKind.NEEDS_OPERATOR, ProblemKind.THROTTLED, ProblemKind.UNAVAILABLE]
)
def test_what_concerns_all_blames_nobody(kind, hs):
    problem = Problem(kind=kind, message="no")

    assert not failed_inputs(DEALS[:1], problem, {"errors": [hs.item_error("e0")]})


# Links

LINKS = [("1", "10"), ("2", "20")]


def made(deal_id, contact_id):
    return {"from": {"id": deal_id}, "to": {"id": contact_id}}


def test_a_link_counts_in_either_direction_and_form():
    body = {"results": [made("10", "1"), {"fromObjectId": 2, "toObjectId": 20}]}

    assert link_problems(LINKS, body) == {}


def test_a_link_without_word_of_it_fails_loudly():
    problems = link_problems(LINKS, {"results": [made("1", "10"), {"from": None}]})

    assert list(problems) == [("2", "20")]
    assert problems["2", "20"].kind is ProblemKind.RETRY_LATER
    assert "does not account for its link" in problems["2", "20"].message


@pytest.mark.parametrize(
    "context",
    [
        {"fromObjectId": ["2"], "toObjectId": ["20"]},
        {"from": ["2"]},
        {"to": "20"},
    ],
)
def test_an_error_names_its_link(context):
    body = {"results": [], "errors": [{"message": "gone", "context": context}]}

    problems = link_problems(LINKS, body)

    assert problems["2", "20"].message == "gone"
    assert problems["1", "10"].kind is ProblemKind.RETRY_LATER


def test_a_link_that_exists_is_made():
    error = {"category": "CONFLICT", "message": "exists", "context": {"from": ["2"]}}

    assert link_problems(LINKS, {"results": [made("1", "10")], "errors": [error]}) == {}


def test_a_nameless_error_belongs_to_the_lone_missing_link():
    body = {"results": [made("1", "10")], "errors": [{"message": "gone"}]}

    assert link_problems(LINKS, body)["2", "20"].kind is ProblemKind.REJECTED
