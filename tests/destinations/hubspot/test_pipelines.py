import anyio
import httpx
import pytest

from anytrack_async.destinations.hubspot.settings import resolve_pipelines, uses_standard_pipeline
from anytrack_async.destinations.sink import NeedsOperator, Unavailable
from anytrack_async.errors import ConfigurationError

PIPELINES = {
    "results": [
        {
            "id": "default",
            "label": "Sales Pipeline",
            "archived": False,
            "stages": [
                {"id": "qualifiedtobuy", "label": "Qualified To Buy"},
                {"id": "closedwon", "label": "Closed Won"},
                {"id": "old", "label": "Old", "archived": True},
            ],
        },
        {
            "id": "1016",
            "label": "Affiliate sales",
            "stages": [{"id": "20", "label": "New"}, {"id": "21", "label": "Won"}],
        },
        {"id": "7", "label": "Twin", "stages": []},
        {"id": "8", "label": "twin", "stages": []},
        {"id": "9", "label": "Gone", "archived": True, "stages": []},
        {"label": "no id"},
        "noise",
    ]
}
WON = {"sale": "Won", "lead": "New", "signup": "New", "custom": "20"}


def test_defaults_need_no_look_up(hs):
    assert uses_standard_pipeline(hs.settings())
    assert uses_standard_pipeline(hs.settings(stages={"lead": "contractsent"}))
    assert not uses_standard_pipeline(hs.settings(stages={"lead": "Contract Sent"}))
    assert not uses_standard_pipeline(hs.settings(pipeline="1016"))


def test_labels_become_ids_in_any_case(hs):
    settings = resolve_pipelines(hs.settings(stages={"sale": " closed WON "}), PIPELINES)

    assert settings.stages["sale"] == "closedwon"
    assert settings.stages["lead"] == "qualifiedtobuy"


def test_pipelines_go_by_label_and_stages_by_pipeline(hs):
    settings = resolve_pipelines(hs.settings(pipeline="affiliate sales", stages=WON), PIPELINES)

    assert set(settings.pipeline.values()) == {"1016"}
    assert settings.stages == {"sale": "21", "lead": "20", "signup": "20", "custom": "20"}


def test_each_type_may_have_its_pipeline(hs):
    settings = resolve_pipelines(
        hs.settings(pipeline={"sale": "1016"}, stages={"sale": "Won"}), PIPELINES
    )

    assert (settings.pipeline["sale"], settings.stages["sale"]) == ("1016", "21")
    assert (settings.pipeline["lead"], settings.stages["lead"]) == ("default", "qualifiedtobuy")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"pipeline": "Nope"},
            r"^HubSpot has no pipeline 'Nope': set HubSpotSettings\(pipeline=…\) to one of 'Sales ",
        ),
        ({"pipeline": "Gone"}, "no pipeline 'Gone'"),
        (
            {"pipeline": "TWIN"},
            r"^HubSpot has more than one pipeline named 'TWIN'; use its id in .*=….*'twin' \(8\)",
        ),
        (
            {"stages": {"sale": "Won"}},
            r"pipeline 'Sales Pipeline' \(default\) has no stage 'Won': set .*stages=.*closedwon",
        ),
        ({"stages": {"sale": "Old"}}, "no stage"),
        ({"pipeline": "7"}, r"has no stage 'closedwon': create the stage in HubSpot$"),
    ],
)
def test_a_wrong_name_tells_what_there_is(hs, given, told):
    with pytest.raises(ConfigurationError, match=told):
        resolve_pipelines(hs.settings(**given), PIPELINES)


@pytest.mark.parametrize("answer", [None, [], {}, {"results": None}])
def test_an_answer_without_pipelines_has_none(hs, answer):
    with pytest.raises(
        ConfigurationError, match="no pipeline 'default': create the pipeline in HubSpot"
    ):
        resolve_pipelines(hs.settings(), answer)


@pytest.mark.asyncio
async def test_default_names_cost_no_request(hs, sink, wire):
    await sink.deliver([hs.sale()])

    assert wire.ops == ["deals"]


@pytest.mark.asyncio
async def test_labels_are_looked_up_once_before_the_first_delivery(hs, make_sink, wire):
    wire.script("pipelines", httpx.Response(200, json=PIPELINES))
    sink = make_sink(pipeline="Affiliate sales", stages=WON)
    async with anyio.create_task_group() as tg:
        for number in range(3):
            tg.start_soon(sink.deliver, [hs.sale(str(number))])

    assert wire.ops == ["pipelines", "deals", "deals", "deals"]
    assert wire.calls[0].path == "/crm/pipelines/2026-09/deals"
    deal = wire.calls[1].inputs[0]["properties"]
    assert (deal["pipeline"], deal["dealstage"]) == ("1016", "21")


@pytest.mark.asyncio
async def test_a_wrong_stage_holds_the_lane_until_it_is_put_right(hs, make_sink, wire):
    later = {"results": [{"id": "default", "stages": [{"id": "1", "label": "Signed"}]}]}
    for stages in (PIPELINES, later):
        wire.script("pipelines", httpx.Response(200, json=stages))
    sink = make_sink(stages=dict.fromkeys(("sale", "lead", "signup", "custom"), "Signed"))

    with pytest.raises(NeedsOperator, match=r"no stage 'Signed': set HubSpot.*stages=") as caught:
        await sink.deliver([hs.sale()])
    assert (caught.value.code, caught.value.cause) == ("CONFIGURATION", "configuration")
    assert caught.value.reason.endswith("; then client.resume('hubspot')")
    assert wire.ops == ["pipelines"]

    await sink.deliver([hs.sale()])
    assert wire.of("deals")[0].inputs[0]["properties"]["dealstage"] == "1"


@pytest.mark.asyncio
async def test_pipelines_that_the_token_may_not_read_hold_the_lane(hs, make_sink, wire):
    wire.script("pipelines", hs.refusal(403, "MISSING_SCOPES", "not yours"))

    with pytest.raises(NeedsOperator, match="not yours") as caught:
        await make_sink(pipeline="1016", stages=WON).deliver([hs.sale()])
    assert caught.value.cause == "credentials"


@pytest.mark.asyncio
async def test_pipelines_that_cannot_be_read_make_the_service_unavailable(hs, make_sink, wire):
    wire.script("pipelines", httpx.Response(503))

    with pytest.raises(Unavailable):
        await make_sink(pipeline="1016", stages=WON).deliver([hs.sale()])


@pytest.mark.asyncio
async def test_a_stage_that_was_removed_holds_the_lane_and_is_looked_up_again(hs, make_sink, wire):
    detail = {"code": "INVALID_OPTION", "context": {"propertyName": ["dealstage"]}}
    for _ in range(2):
        wire.script("pipelines", httpx.Response(200, json=PIPELINES))
    wire.script("deals", hs.reply(207, errors=[hs.item_error("sale:1", errors=[detail])]))
    sink = make_sink(pipeline="1016", stages=WON)

    with pytest.raises(NeedsOperator, match="INVALID_OPTION") as caught:
        await sink.deliver([hs.sale("1")])
    assert caught.value.cause == "configuration"
    assert "stage '21': set HubSpotSettings(stages=…)" in caught.value.reason
    await sink.deliver([hs.sale("1")])

    assert wire.ops == ["pipelines", "deals", "pipelines", "deals"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "properties", [{"dealstage": "custom_data.stage"}, lambda c: {"dealstage": "x"}]
)
async def test_a_stage_a_conversion_brings_along_is_rejected(hs, make_sink, wire, properties):
    detail = {"code": "INVALID_OPTION", "context": {"propertyName": ["dealstage"]}}
    wire.script("deals", hs.reply(207, errors=[hs.item_error("sale:1", errors=[detail])]))

    (outcome,) = await make_sink(properties=properties).deliver([hs.sale("1")])

    assert outcome.status == "rejected"
