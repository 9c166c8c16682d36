import random

import pytest

from anytrack_async.destinations.hubspot.associations import missing_links
from anytrack_async.destinations.hubspot.batch_result import account, blamed
from anytrack_async.destinations.hubspot.problem import Act, Problem


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

    accounts = account(DEALS, {"results": results})

    assert accounts.ids == {one["id"]: f"id of {one['id']}" for one in DEALS}
    assert not accounts.problems


def test_lower_cased_addresses_match():
    inputs = [contact("jane@example.com", "e1"), contact("joe@example.com", "e2")]
    results = [
        {"id": 2, "properties": {"email": "Joe@Example.com "}},
        {"id": 1, "properties": {"email": "JANE@example.com"}},
    ]

    assert account(inputs, {"results": results}).ids == {"e1": "1", "e2": "2"}


def test_an_error_names_its_input_and_the_others_are_written(hs):
    body = {
        "results": [hs.written(one) for one in DEALS[1:]],
        "errors": [hs.item_error("e0")],
        "numErrors": 1,
    }

    accounts = account(DEALS, body)

    assert len(accounts.ids) == 19
    assert accounts.problems["e0"].act is Act.REJECT
    assert accounts.problems["e0"].message == "bad input"


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

    assert set(account(DEALS, body).problems) == {"e0"}


def test_an_inner_error_may_name_the_input():
    error = {"message": "bad", "errors": [{"context": {"objectWriteTraceId": ["e0"]}}]}

    assert account(DEALS[:1], {"errors": [error]}).problems["e0"].message == "bad"


@pytest.mark.parametrize("body", [{}, {"results": []}, {"results": None}, [], None, "COMPLETE"])
def test_an_answer_without_results_fails_loudly(body):
    problems = account(DEALS, body).problems

    assert set(problems) == {one["id"] for one in DEALS}
    for problem in problems.values():
        assert problem.act is Act.LATER
        assert problem.code == "UNACCOUNTED"
        assert "accounts for 0 of 20 inputs" in problem.message


def test_one_input_that_is_missing_is_the_only_one_to_fail(hs):
    body = {"results": [hs.written(one) for one in DEALS[1:]]}

    accounts = account(DEALS, body)

    assert len(accounts.ids) == 19
    assert list(accounts.problems) == ["e0"]
    assert "accounts for 19 of 20 inputs" in accounts.problems["e0"].message


def test_results_of_strangers_are_passed_over(hs):
    strangers = [
        hs.written(deal(99)),
        {"id": "5", "properties": {}},
        {"id": "6", "properties": None},
        {"id": "7", "properties": {"anytrack_event_id": 3}},
        {"id": "", "objectWriteTraceId": "e0"},
        "noise",
    ]

    assert set(account(DEALS[:1], {"results": strangers}).problems) == {"e0"}


def test_a_lone_nameless_error_belongs_to_the_lone_missing_input(hs):
    body = {
        "results": [hs.written(one) for one in DEALS[1:]],
        "errors": [hs.item_error(None)],
    }

    assert account(DEALS, body).problems["e0"].act is Act.REJECT


def test_nameless_errors_of_several_inputs_split_the_batch(hs):
    body = {
        "results": [hs.written(one) for one in DEALS[2:]],
        "errors": [hs.item_error(None), hs.item_error(None)],
    }

    problems = account(DEALS, body).problems

    assert {name: problem.act for name, problem in problems.items()} == {
        "e0": Act.SPLIT,
        "e1": Act.SPLIT,
    }


def test_a_nameless_error_that_passes_is_retried_without_splitting(hs):
    problems = account(DEALS, {"errors": [hs.item_error(None, "INTERNAL_ERROR")]}).problems

    assert {problem.act for problem in problems.values()} == {Act.LATER}


def test_what_was_written_stays_written_even_if_an_error_names_it_too(hs):
    body = {"results": [hs.written(DEALS[0])], "errors": [hs.item_error("e0")]}

    accounts = account(DEALS[:1], body)

    assert accounts.ids == {"e0": "id of e0"}
    assert not accounts.problems


def test_a_refused_batch_blames_whom_it_names(hs):
    problem = Problem(act=Act.REJECT, message="bad")

    assert set(blamed(DEALS, problem, {"errors": [hs.item_error("e3")]})) == {"e3"}
    assert not blamed(DEALS, problem, {})
    assert set(blamed(DEALS[:1], problem, None)) == {"e0"}


def test_a_locked_batch_is_everyones():
    problem = Problem(act=Act.LATER, message="locked", after=2.0)

    assert len(blamed(DEALS, problem, {})) == 20


@pytest.mark.parametrize("act", [Act.HOLD, Act.WAIT, Act.DOWN])
def test_what_concerns_all_blames_nobody(act, hs):
    problem = Problem(act=act, message="no")

    assert not blamed(DEALS[:1], problem, {"errors": [hs.item_error("e0")]})


# Links

LINKS = [("1", "10"), ("2", "20")]


def made(deal_id, contact_id):
    return {"from": {"id": deal_id}, "to": {"id": contact_id}}


def test_a_link_counts_in_either_direction_and_form():
    body = {"results": [made("10", "1"), {"fromObjectId": 2, "toObjectId": 20}]}

    assert missing_links(LINKS, body) == {}


def test_a_link_without_word_of_it_fails_loudly():
    problems = missing_links(LINKS, {"results": [made("1", "10"), {"from": None}]})

    assert list(problems) == [("2", "20")]
    assert problems["2", "20"].act is Act.LATER
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

    problems = missing_links(LINKS, body)

    assert problems["2", "20"].message == "gone"
    assert problems["1", "10"].act is Act.LATER


def test_a_link_that_exists_is_made():
    error = {"category": "CONFLICT", "message": "exists", "context": {"from": ["2"]}}

    assert missing_links(LINKS, {"results": [made("1", "10")], "errors": [error]}) == {}


def test_a_nameless_error_belongs_to_the_lone_missing_link():
    body = {"results": [made("1", "10")], "errors": [{"message": "gone"}]}

    assert missing_links(LINKS, body)["2", "20"].act is Act.REJECT
