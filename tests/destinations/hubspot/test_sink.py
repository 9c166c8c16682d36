import anyio
import httpx
import pytest

from anytrack_async.destinations.hubspot import steps
from anytrack_async.destinations.sink import (
    NeedsOperator,
    Throttled,
    Unavailable,
)
from anytrack_async.events import LaneHeld, Weakened
from anytrack_async.models.outcome import DELIVERED, Outcome

pytestmark = pytest.mark.asyncio


def statuses(outcomes):
    return [outcome and outcome.status.value for outcome in outcomes]


async def test_requests_carry_the_token_and_the_version(hs, sink, wire):
    await sink.deliver([hs.sale()])

    (call,) = wire.calls
    assert call.token == hs.TOKEN
    assert call.path == "/crm/objects/2026-09/deals/batch/upsert"
    assert call.request.headers["content-type"] == "application/json"


async def test_version_v3_uses_the_older_paths(hs, make_sink, wire):
    await make_sink(api_version="v3").deliver([hs.sale(email="a@b.example")])

    assert [call.path for call in wire.calls] == [
        "/crm/v3/objects/contacts/batch/upsert",
        "/crm/v3/objects/deals/batch/upsert",
        "/crm/v4/associations/deals/contacts/batch/associate/default",
    ]


async def test_batches_stay_within_a_hundred(hs, sink, wire):
    outcomes = await sink.deliver([hs.sale(str(n)) for n in range(250)])

    assert [len(call.inputs) for call in wire.calls] == [100, 100, 50]
    assert [outcome.remote_id for outcome in outcomes] == [f"id of sale:{n}" for n in range(250)]


async def test_an_empty_batch_sends_no_request(sink, wire):
    assert await sink.deliver([]) == []
    assert not wire.calls


async def test_the_sink_has_a_name_and_limits(sink):
    assert (sink.name, sink.limits.batch, sink.limits.concurrency) == ("hubspot", 100, 6)


async def test_a_wrong_path_holds_the_lane(hs, sink, wire):
    wire.script("deals", hs.refusal(404, "OBJECT_NOT_FOUND", "resource not found"))

    with pytest.raises(NeedsOperator, match=r"check HubSpotSettings\(api_version=…") as caught:
        await sink.deliver([hs.sale("1")])
    assert caught.value.cause == "configuration"


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
async def test_a_service_that_is_down_is_unavailable(hs, sink, wire, op, answer, monkeypatch):
    monkeypatch.setattr(steps, "_REPEAT_WITHIN", 0.0)
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


async def test_a_portal_that_is_being_moved_pauses_the_lane(hs, sink, wire):
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


async def test_a_signal_in_a_later_batch_keeps_the_earlier_outcomes(hs, sink, wire):
    wire.script(
        "deals",
        lambda call: hs.reply(results=[hs.written(item) for item in call.inputs]),
        hs.refusal(429, "RATE_LIMITS", policyName="SECONDLY"),
    )

    with pytest.raises(Throttled) as caught:
        await sink.deliver([hs.sale(str(n)) for n in range(250)])
    assert statuses(caught.value.outcomes) == ["delivered"] * 100 + [None] * 150


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
async def test_an_invalid_token_is_refused(sink, token):
    with pytest.raises(ValueError, match="token"):
        sink.use_token(token)


async def test_a_refused_token_holds_the_lane(hs, sink, wire):
    wire.script("deals", hs.refusal(401, "INVALID_AUTHENTICATION", "who are you"))

    with pytest.raises(NeedsOperator, match="who are you") as caught:
        await sink.deliver([hs.sale()])
    assert caught.value.cause == "credentials"
    assert len(wire.calls) == 1


async def test_a_token_replaced_while_a_request_is_in_flight_is_used(hs, sink, wire):
    def replaced(call):
        sink.use_token("rotated")
        return hs.refusal(401, "EXPIRED_AUTHENTICATION")

    wire.script("deals", replaced)

    assert statuses(await sink.deliver([hs.sale()])) == ["delivered"]
    assert [call.token for call in wire.calls] == [hs.TOKEN, "rotated"]


async def test_two_sinks_of_one_token_share_the_limit(hs, make_sink, wire):
    first, second = make_sink(), make_sink()
    wire.script("deals", hs.refusal(429, "RATE_LIMITS", policyName="TEN_SECONDLY_ROLLING"))
    with pytest.raises(Throttled):
        await first.deliver([hs.sale()])

    with anyio.move_on_after(0.01) as scope:
        await second.deliver([hs.sale()])
    assert scope.cancelled_caught
    assert len(wire.calls) == 1


async def test_a_daily_limit_does_not_make_other_sinks_wait(hs, make_sink, wire):
    first, second = make_sink(), make_sink()
    wire.script("deals", hs.refusal(429, "RATE_LIMITS", policyName="DAILY"))
    with pytest.raises(Throttled):
        await first.deliver([hs.sale()])

    with anyio.fail_after(1):
        assert statuses(await second.deliver([hs.sale()])) == ["delivered"]


# Pipelines and stages by label


async def test_default_names_need_no_request(hs, sink, wire):
    await sink.deliver([hs.sale()])

    assert wire.ops == ["deals"]


async def test_labels_are_looked_up_once_before_the_first_delivery(hs, make_sink, wire):
    wire.script("pipelines", httpx.Response(200, json=hs.PIPELINES))
    sink = make_sink(pipeline="Affiliate sales", stages=hs.STAGES)
    async with anyio.create_task_group() as tg:
        for number in range(3):
            tg.start_soon(sink.deliver, [hs.sale(str(number))])

    assert wire.ops == ["pipelines", "deals", "deals", "deals"]
    assert wire.calls[0].path == "/crm/pipelines/2026-09/deals"
    deal = wire.calls[1].inputs[0]["properties"]
    assert (deal["pipeline"], deal["dealstage"]) == ("1016", "21")


async def test_an_unknown_stage_holds_the_lane_until_it_exists(hs, make_sink, wire):
    later = {"results": [{"id": "default", "stages": [{"id": "1", "label": "Signed"}]}]}
    for stages in (hs.PIPELINES, later):
        wire.script("pipelines", httpx.Response(200, json=stages))
    sink = make_sink(stages=dict.fromkeys(("sale", "lead", "signup", "custom"), "Signed"))

    with pytest.raises(NeedsOperator, match=r"no stage 'Signed': set HubSpot.*stages=") as caught:
        await sink.deliver([hs.sale()])
    assert (caught.value.code, caught.value.cause) == ("CONFIGURATION", "configuration")
    assert wire.ops == ["pipelines"]

    await sink.deliver([hs.sale()])
    assert wire.of("deals")[0].inputs[0]["properties"]["dealstage"] == "1"


async def test_pipelines_that_the_token_may_not_read_hold_the_lane(hs, make_sink, wire):
    wire.script("pipelines", hs.refusal(403, "MISSING_SCOPES", "not yours"))

    with pytest.raises(NeedsOperator, match="not yours") as caught:
        await make_sink(pipeline="1016", stages=hs.STAGES).deliver([hs.sale()])
    assert caught.value.cause == "credentials"


@pytest.mark.parametrize(
    "answer", [httpx.Response(503), httpx.Response(400, json={"category": "VALIDATION_ERROR"})]
)
async def test_pipelines_that_cannot_be_read_make_hubspot_unavailable(hs, make_sink, wire, answer):
    wire.script("pipelines", answer)

    with pytest.raises(Unavailable):
        await make_sink(pipeline="1016", stages=hs.STAGES).deliver([hs.sale()])


async def test_a_stage_that_was_removed_holds_the_lane_and_is_looked_up_again(hs, make_sink, wire):
    detail = {"code": "INVALID_OPTION", "context": {"propertyName": ["dealstage"]}}
    for _ in range(2):
        wire.script("pipelines", httpx.Response(200, json=hs.PIPELINES))
    wire.script("deals", hs.reply(207, errors=[hs.item_error("sale:1", errors=[detail])]))
    sink = make_sink(pipeline="1016", stages=hs.STAGES)

    with pytest.raises(NeedsOperator, match="INVALID_OPTION") as caught:
        await sink.deliver([hs.sale("1")])
    assert caught.value.cause == "configuration"
    assert "stage '21': set HubSpotSettings(stages=…)" in caught.value.reason
    await sink.deliver([hs.sale("1")])

    assert wire.ops == ["pipelines", "deals", "pipelines", "deals"]


@pytest.mark.parametrize(
    "properties", [{"dealstage": "custom_data.stage"}, lambda c: {"dealstage": "x"}]
)
async def test_an_unknown_stage_from_a_conversion_is_rejected(hs, make_sink, wire, properties):
    detail = {"code": "INVALID_OPTION", "context": {"propertyName": ["dealstage"]}}
    wire.script("deals", hs.reply(207, errors=[hs.item_error("sale:1", errors=[detail])]))

    (outcome,) = await make_sink(properties=properties).deliver([hs.sale("1")])

    assert outcome.status == "rejected"


async def test_the_log_says_which_setting_is_wrong_and_how_to_resume(hs, make_sink, wire):
    wire.script("pipelines", httpx.Response(200, json=hs.PIPELINES))
    with pytest.raises(NeedsOperator) as caught:
        await make_sink(pipeline="Online shop").deliver([hs.sale()])

    held = LaneHeld(destination="hubspot", reason=caught.value.reason, cause=caught.value.cause)
    template, *values = held.log_line()
    line = template % tuple(values)
    assert "HubSpot has no pipeline 'Online shop': set HubSpotSettings(pipeline=…) to one" in line
    assert "configuration" in line
    assert "credentials" not in line
    assert line.count("client.resume('hubspot')") == 1


async def test_addresses_that_hubspot_refuses_are_counted_when_the_outcome_is_final(hs, make_sink):
    class Diary:
        def __init__(self):
            self.events = []

        def notify(self, event, /):
            self.events.append(event)

    sink, diary = make_sink(), Diary()
    sink.set_observer(diary)
    outcomes = [DELIVERED, Outcome.rejected("no"), Outcome.retry("later"), None]
    sink._report_weaknesses([hs.sale(str(n), email="a@b.c") for n in range(4)], outcomes)
    sink._report_weaknesses([hs.sale("9", email="a@b.example"), hs.sale("10")], [DELIVERED] * 2)

    assert diary.events == [
        Weakened(destination="hubspot", reason="unusable e-mail addresses", count=2)
    ]


async def test_without_contacts_addresses_do_not_matter(hs, make_sink, caplog):
    sale = hs.sale("1", email="nobody")
    await make_sink(contacts=False).deliver([sale])
    assert caplog.messages == []

    await make_sink().deliver([sale])
    assert "hubspot: matched less well: unusable e-mail addresses" in caplog.text
